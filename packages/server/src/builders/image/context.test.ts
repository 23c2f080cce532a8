// What of a stored source a Dockerfile gets to see.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { compileIgnore } from "../../core/image/ignore.ts";
import { folderBlobs, type TestBlobs } from "../testing/blobs.ts";
import { streamOf, tarball } from "../testing/tarball.ts";
import { readTar } from "../untar.ts";
import { buildContext, type ContextOf } from "./context.ts";

const never = new AbortController().signal;
const dir = mkdtempSync(join(tmpdir(), "berth-context-"));
let blobs: TestBlobs;
let source = "";

beforeAll(async () => {
  blobs = await folderBlobs(join(dir, "blobs"));
  const archive = await tarball([
    { name: "api", type: "directory" },
    { name: "api/server.js", body: "api" },
    { name: "api/run.sh", body: "#!/bin/sh\n", mode: 0o755 },
    { name: "api/latest", type: "symlink", linkname: "server.js" },
    { name: "api/node_modules/x/index.js", body: "x" },
    { name: "api/Dockerfile", body: "FROM theirs" },
    { name: "apix/other.js", body: "other" },
    { name: "web/index.html", body: "<p>" },
  ]);
  source = (await blobs.put(streamOf(archive))).digest;
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

async function seen(of: Partial<ContextOf>): Promise<Record<string, string>> {
  const context = buildContext(blobs, { source, root: ".", ignored: () => false, extra: [], ...of }, never);
  const found: Record<string, string> = {};
  for await (const { raw, content } of readTar(context, { signal: never })) {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    found[raw.name] =
      raw.type === "symlink" ? `-> ${raw.linkname ?? ""}` : raw.type === "directory" ? "/" : `${raw.mode.toString(8)} ${text}`;
  }
  return found;
}

it("is the plan's folder alone, with its links and its executable files as they are", async () => {
  expect(await seen({ root: "api" })).toEqual({
    "server.js": "644 api",
    "run.sh": "755 #!/bin/sh\n",
    latest: "-> server.js",
    "node_modules/x/index.js": "644 x",
    Dockerfile: "644 FROM theirs",
  });
});

it("lacks what is ignored, and has what Berth puts in its place", async () => {
  const ignored = compileIgnore(["node_modules", "*.sh", "latest"]);
  expect(await seen({ root: "api", ignored, extra: [{ path: "Dockerfile", content: Buffer.from("FROM ours") }] })).toEqual({
    "server.js": "644 api",
    Dockerfile: "644 FROM ours",
  });
});

it("ends with the store's own error when the source is gone", async () => {
  await expect(seen({ source: `sha256:${"0".repeat(64)}` })).rejects.toMatchObject({ code: "not_found" });
});
