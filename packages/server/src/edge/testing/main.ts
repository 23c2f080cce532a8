// The edge as tests run it: the real primary and routers, with an agent that says what the test tells it.
import { readEdgeConfig } from "../config.ts";
import { startEdge } from "../primary/edge.ts";

const configFile = process.argv[2] ?? "";
const end = Promise.withResolvers<void>();
const edge = await startEdge({ config: await readEdgeConfig(configFile), configFile, entryUrl: import.meta.url, version: "test", onShutdown: () => { end.resolve(); } });
process.on("SIGTERM", () => { end.resolve(); }).on("SIGHUP", () => { void edge.reload(); });
await end.promise;
await edge.stop();
process.exit(0);
