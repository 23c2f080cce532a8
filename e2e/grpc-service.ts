// The program of a component that speaks gRPC, as the tests deploy it: bundled into one file, since it is to be built without a registry.
import { rolldown } from "rolldown";
import { fileURLToPath } from "node:url";
import type { Files } from "./harness.ts";

/** A folder with a gRPC service whose calls are those of edge/testing/grpc.ts; `version` is in the metadata of its answers. */
export async function grpcService(version: string): Promise<Files> {
  const made = await rolldown({
    input: "program",
    platform: "node",
    logLevel: "silent",
    plugins: [
      { name: "program", resolveId: (id) => (id === "program" ? fileURLToPath(new URL("./grpc-program.ts", import.meta.url)) : undefined) },
    ],
  });
  const { output } = await made.generate({ format: "esm", codeSplitting: false });
  await made.close();
  return {
    "package.json": JSON.stringify({ name: "rpc", type: "module", scripts: { start: "node server.js" } }),
    "server.js": output[0].code,
    "version.txt": version,
  };
}
