// The last words of a run, while its container is started again.
import { expect, it } from "vitest";
import { KubeApi } from "../../kubernetes/api.ts";
import { BadServer, json, refusal } from "../../kubernetes/testing/server.ts";
import { never } from "../conformance/lab.ts";
import { Causes } from "./causes.ts";
import { viewOf } from "./instances.ts";
import { mark } from "./names.ts";
import type { Pod } from "./objects.ts";

const ended = viewOf({
  metadata: { namespace: "berth-shop", name: "web-1", uid: "1", labels: { [mark.stack]: "shop", [mark.component]: "web" } },
  spec: { containers: [{ name: "web" }] },
  status: {
    phase: "Running",
    containerStatuses: [
      {
        name: "web",
        restartCount: 0,
        state: { terminated: { exitCode: 7, startedAt: "2026-01-01T00:00:00Z", finishedAt: "2026-01-01T00:00:01Z" } },
      },
    ],
  },
} as unknown as Pod);

/** `logs`: of the container of now, and of the one before it; undefined: there is none. */
async function evidence(logs: { readonly now: string; readonly before: string | undefined }): Promise<string[]> {
  await using server = await BadServer.start((request, response) => {
    const text = request.url?.includes("previous=true") === true ? logs.before : logs.now;
    if (text === undefined) json(response, 400, refusal(400, "BadRequest"));
    else response.writeHead(200).end(text);
  });
  const api = new KubeApi(server.access);
  try {
    const why = await new Causes(api).of(ended!, never);
    return why?.evidence.map(({ kind, text }) => `${kind} ${text}`) ?? [];
  } finally {
    await api.close();
  }
}

const line = "2026-01-01T00:00:01Z no licence\n";

it("are those of the run that ended, also when the next one has begun and said nothing", async () => {
  const wanted = ["log no licence", "exit exit code 7 after 1.0 s"];
  expect(await evidence({ now: line, before: undefined })).toEqual(wanted);
  expect(await evidence({ now: "", before: line })).toEqual(wanted);
  expect(await evidence({ now: "", before: undefined })).toEqual(wanted.slice(1));
});
