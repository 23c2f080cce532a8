// A gRPC service as a program of its own: it listens where it is told, and ends its calls before itself.
import { readFileSync } from "node:fs";
import { grpcInstance } from "../packages/server/src/edge/testing/grpc.ts";

const version = readFileSync("version.txt", "utf8");
const service = await grpcInstance(version, Number(process.env.PORT));
console.log(`version ${version} listens`);
process.once("SIGTERM", () => {
  void service.leave().then(() => process.exit(0));
});
