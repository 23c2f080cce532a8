// What of the cluster runs: a line for each of its programs, for the node and for pods that are not well.
import type { Progress } from "../progress.mjs";
import { isControlPlaneUp } from "./control-plane.ts";
import { isDaemonRunning, startedDaemons } from "./daemons.ts";
import { kubectl } from "./kube.ts";

/** The exit code: 0 when all that was started runs, 1 when some of it ended, 3 when nothing was started. */
export async function status(progress: Progress): Promise<number> {
  const names = startedDaemons();
  if (names.length === 0) {
    progress.line("No cluster is up.");
    return 3;
  }
  for (const name of names) if (isDaemonRunning(name)) progress.done(name);
  const ended = names.filter((name) => !isDaemonRunning(name));
  for (const name of ended) progress.note(`${name} has ended; \`npm run cluster -- up\` starts it again`);
  if (!(await isControlPlaneUp())) return 1;
  progress.line(`\n${await kubectl(["get", "nodes", "-o", "wide"])}`);
  progress.line(await kubectl(["get", "pods", "-A", "--field-selector=metadata.namespace!=fleet"]));
  return ended.length === 0 ? 0 : 1;
}
