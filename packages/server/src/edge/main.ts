// Process entry of `berth edge`: the path of its config file, and flags (run.ts). It maps the end to an exit code.
import process from "node:process";
import { leave } from "../os/leave.ts";
import { runEdge } from "./run.ts";

try {
  await runEdge(process.argv.slice(2), import.meta.url);
  process.exitCode = 0;
} catch (error) {
  process.stderr.write(
    `${JSON.stringify({ name: "edge", level: 60, time: Date.now(), msg: error instanceof Error ? error.message : String(error) })}\n`,
  );
  process.exitCode = 1;
}
leave(process.exitCode);
