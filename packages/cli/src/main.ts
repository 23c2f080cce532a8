// Process entry of `berth`: streams, signals and the exit code. Nothing else may read or end the process.
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { readSurroundings } from "./config.ts";
import { exitCodes } from "./failure.ts";

const surroundings = readSurroundings();
// In the caller's own cache folder: Node's default lies in a folder that other users may write to.
enableCompileCache(join(surroundings.cacheDir, "compiled"));
// A reader that went away (`berth logs | head`) is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? exitCodes.done : exitCodes.failed);
  });
}

const { run } = await import("./run.ts");
process.exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  surroundings,
  cwd: process.cwd(),
  now: () => new Date(),
  onInterrupt: (call) => {
    let times = 0;
    const heard = (): void => {
      times += 1;
      // Somebody who asks a second time does not want to wait.
      if (times > 1) process.exit(exitCodes.interrupted);
      call();
    };
    process.on("SIGINT", heard).on("SIGTERM", heard);
    return () => {
      process.off("SIGINT", heard).off("SIGTERM", heard);
    };
  },
});
// Keep-alive connections and an open stdin must not hold the prompt back; what was written has to be out first.
for (const stream of [process.stdout, process.stderr])
  await new Promise((resolve) => {
    stream.write("", resolve);
  });
process.exit();
