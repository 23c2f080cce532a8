// Asks the collector to read what an instance has written until now, so that why it ended is told with its last words, however busy the machine is.
import { request } from "node:http";
import { refKey } from "../../engines/agent/protocol.ts";
import type { Ref } from "../../engines/engine.ts";

/** ms that a collector is waited for which is there and does not answer. */
const patience = 3_000;

/** Whether it has: false when no collector answers. */
export function heard(logsSocket: string, ref: Ref, instance: string): Promise<boolean> {
  return new Promise((resolve) => {
    // It reads before it answers; of the lines themselves none is asked for.
    const path = `/v1/logs/${refKey(ref)}?${new URLSearchParams({ instance, tail: "0" }).toString()}`;
    const asked = request({ socketPath: logsSocket, path, agent: false, timeout: patience }, (answer) => {
      answer
        .resume()
        .once("end", () => resolve(answer.statusCode === 200))
        .once("error", () => resolve(false));
    });
    asked
      .once("timeout", () => asked.destroy(new Error("no answer")))
      .once("error", () => resolve(false))
      .end();
  });
}
