// How a process ends: with its code, after its listeners, and without waiting for any thread of its own.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const module_ = fileURLToPath(new URL("./leave.ts", import.meta.url));

function ended(script: string): Promise<{ readonly code: unknown; readonly signal: unknown; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["--input-type=module", "-e", `import { leave } from ${JSON.stringify(module_)};\n${script}`],
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : error.code, signal: error?.signal, output: stdout + stderr });
      },
    );
  });
}

it.each([0, 3])("ends with code %i, after what listens for the end, with work still open", async (code) => {
  const { output, ...how } = await ended(
    `setInterval(() => {}, 1000); process.on("exit", (code) => console.log("ends with", code)); leave(${String(code)});`,
  );
  expect(how).toEqual({ code, signal: code === 0 ? undefined : null });
  expect(output).toBe(`ends with ${String(code)}\n`);
});
