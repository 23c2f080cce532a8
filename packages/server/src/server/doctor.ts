// What `berth doctor` asks: is each part of this installation there and well, and what to do where it is not.
import { statfs } from "node:fs/promises";
import type { Check } from "@berth/contract/resources/installation.ts";
import { sql } from "kysely";
import type { Config } from "../config.ts";
import type { Db } from "../db/pool.ts";
import type { EdgeTraffic } from "../engines/edge-traffic.ts";
import type { Engine } from "../engines/engine.ts";
import type { Paths } from "../paths.ts";
import { queueStats } from "../reconcile/queue.ts";

export interface DoctorDeps { readonly db: Db; readonly engine: Engine; readonly traffic: EdgeTraffic; readonly config: Config; readonly paths: Paths; readonly findTool: (name: string) => Promise<string | undefined> }

export async function runDoctor(deps: DoctorDeps, signal: AbortSignal): Promise<Check[]> {
  return [
    await check("database", async () => {
      const { rows } = await sql<{ version: string; size: string }>`select current_setting('server_version') as version, pg_size_pretty(pg_database_size(current_database())) as size`.execute(deps.db);
      return ok(`PostgreSQL ${rows[0]?.version}, ${deps.config.databaseUrl === undefined ? "embedded" : "your own"}, ${rows[0]?.size}`);
    }, "Look at the server's log; `berth server start` starts the embedded one again."),
    await check("edge", async () => {
      const hello = await deps.traffic.hello(signal);
      return ok(`answers on ${hello.router.host}:${hello.router.port}, pid ${hello.pid}`);
    }, `Its log is ${deps.paths.edgeLog}; \`berth server start\` starts it again.`),
    await check("local engine", async () => {
      const found = await deps.engine.capabilities(signal);
      const lacks = found.isolation.includes("none") ? "; instances are not kept apart from each other here" : "";
      return { status: lacks === "" && found.volumes === "mount" ? "ok" : "warning", found: `version ${found.version}, isolation by ${found.isolation.join(", ")}, volumes by ${found.volumes}${lacks}`, ...(lacks === "" ? {} : { next: "Run Berth as root, or install bubblewrap." }) };
    }, "`berth server start` starts it again."),
    await check("work queue", async () => {
      const stats = await queueStats(deps.db);
      const failing = stats.filter((item) => item.failing > 0);
      const late = stats.filter((item) => item.lag > 60);
      if (failing.length + late.length > 0) return { status: "warning", found: [...failing.map((item) => `${item.failing} ${item.kind} row(s) fail and are tried again`), ...late.map((item) => `${item.kind} work is ${Math.round(item.lag)} s late`)].join("; "), next: "The server's log has the errors." };
      return ok("nothing is late and nothing fails");
    }, "Look at the server's log."),
    await check("disk", async () => {
      const stats = await statfs(deps.config.home);
      const free = stats.bavail * stats.bsize;
      const text = `${(free / 1e9).toFixed(1)} GB free in ${deps.config.home}`;
      return free < 1e9 ? { status: "warning", found: text, next: "Free some space: builds, logs and the database need it." } : ok(text);
    }, "Check the home folder."),
    ...(await Promise.all(["git", "node", "python3"].map((name) => check(name, async () => {
      const version = await deps.findTool(name);
      return version === undefined ? { status: "warning", found: "not found", next: `Install ${name} to build projects that need it.` } : ok(version);
    }, `Install ${name}.`)))),
  ];
}

type Found = Omit<Check, "name">;
const ok = (found: string): Found => ({ status: "ok", found });

async function check(name: string, look: () => Promise<Found>, next: string): Promise<Check> {
  try {
    return { name, ...(await look()) };
  } catch (error) {
    return { name, status: "failed", found: error instanceof Error ? error.message : String(error), next };
  }
}
