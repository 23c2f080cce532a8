// Process entry of `berth edge`: one argument, the path of its config file. It maps signals to orders and the end to an exit code.
import process from "node:process";
import { readEdgeConfig, type EdgeConfig } from "./config.ts";
import { startEdge } from "./primary/edge.ts";

/** Runs the edge until SIGTERM, SIGINT or an order over its socket; SIGHUP replaces the routers. Resolves with the exit code. */
export async function runEdge(config: EdgeConfig, configFile: string, version: string): Promise<number> {
  const end = Promise.withResolvers<void>();
  const edge = await startEdge({ config, configFile, entryUrl: import.meta.url, version, onShutdown: () => { end.resolve(); } });
  process.on("SIGTERM", () => { end.resolve(); }).on("SIGINT", () => { end.resolve(); });
  process.on("SIGHUP", () => { edge.reload().catch((error: unknown) => { process.stderr.write(`${JSON.stringify({ name: "edge", level: 50, msg: "the routers could not be replaced", err: String(error) })}\n`); }); });
  await end.promise;
  await edge.stop();
  return 0;
}

try {
  const configFile = process.argv[2];
  const config = await readEdgeConfig(configFile);
  process.exitCode = await runEdge(config, configFile ?? "", config.version);
} catch (error) {
  process.stderr.write(`${JSON.stringify({ name: "edge", level: 60, time: Date.now(), msg: error instanceof Error ? error.message : String(error) })}\n`);
  process.exitCode = 1;
}
process.exit();
