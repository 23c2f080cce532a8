// Process entry of an edge that is a container on a Docker host: `run CONFIG` is the container's first process and keeps an edge running, `tunnel RUNDIR` is
// what a server starts in it to reach its sockets.
import process from "node:process";
import { keepEdge } from "./keeper.ts";
import { serveTunnel } from "./tunnel.ts";

const [verb, argument] = process.argv.slice(2);
if (argument === undefined || (verb !== "run" && verb !== "tunnel")) {
  process.stderr.write("usage: edge-container run CONFIG | tunnel RUNDIR\n");
  process.exitCode = 2;
} else if (verb === "run") {
  process.exitCode = await keepEdge(argument);
} else {
  await serveTunnel(argument, process.stdin, process.stdout);
  // What is still open belongs to nobody.
  process.exit(0);
}
