// What only the agent of a machine's processes is asked: about the folders and the user of a stack.
import type { StackAnswer, StackUse } from "../../engines/agent/protocol.ts";
import type { ServerDeps } from "./server.ts";
import type { Stacks } from "./stacks.ts";
import type { Supervisor } from "./supervisor.ts";
import type { Tasks } from "./tasks.ts";

export function stackRoutes({
  stacks,
  supervisor,
  tasks,
}: {
  readonly stacks: Stacks;
  readonly supervisor: Supervisor;
  readonly tasks: Tasks;
}): ServerDeps["more"] {
  return (key, { path: [, , first = "", second = ""] }) => {
    switch (key) {
      case "PUT v1/stacks": {
        const { dir, user } = stacks.open(first);
        return Promise.resolve({ dir, ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }) } satisfies StackAnswer);
      }
      case "DELETE v1/stacks":
        stacks.forget(first);
        return Promise.resolve({});
      case "GET v1/stacks":
        return Promise.resolve({
          releases: supervisor.releasesInUse(first),
          ending: supervisor.has(first) || tasks.has(first),
        } satisfies StackUse);
      case "GET v1/volumes":
        return Promise.resolve({ usedBy: supervisor.volumeUsers(first, second) });
      default:
        return undefined;
    }
  };
}
