// The edge as tests run it: the real primary and routers, with an agent that says what the test tells it.
import process from "node:process";
import { runEdge } from "../run.ts";

try {
  await runEdge(process.argv.slice(2), import.meta.url);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
}
process.exit();
