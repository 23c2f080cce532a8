// Fills a Berth's database with what a large installation has stored, straight by SQL: through the API it would take hours. Everything is a copy of one
// stack that was deployed for real, so that rows are as large as real ones.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { until, type TestBerth } from "../../e2e/harness.ts";
import { testCertificate } from "../../packages/server/src/edge/testing/certificates.ts";
import { connect } from "../shared/database.ts";
import { listener } from "../supervise/apps.ts";

export interface Size {
  readonly stacks: number;
  /** Of each stack. */
  readonly components: number;
  /** Of each component. */
  readonly releases: number;
  /** Of each release. */
  readonly events: number;
}

export async function seed(berth: TestBerth, size: Size): Promise<void> {
  await berth.deployed("template", listener);
  const given = testCertificate({ hosts: ["given.example"] });
  await berth.client.setCertificate({ params: { certificate: "given" }, body: { chain: given.certificate, key: given.key } });
  const db = await connect(berth.home);
  try {
    const script = readFileSync(join(import.meta.dirname, "seed.sql"), "utf8").replace(
      /:(stacks|components|releases|events)\b/g,
      (_, name: string) => String(Math.trunc(size[name as keyof Size])),
    );
    await db.query("set statement_timeout = 0");
    await db.query(`begin;\n${script};\ncommit`);
    await db.query("analyze");
    // The audit log is sealed in the background; that is work of the day on which it was written.
    await until(
      async () => ((await db.query("select 1 from audit where seq is null limit 1")).rowCount === 0 ? true : undefined),
      "a sealed audit log",
      120_000,
    );
  } finally {
    await db.end();
  }
}
