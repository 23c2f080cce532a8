// What is known of the pods of a cluster that falls silent.
import { afterEach, expect, it } from "vitest";
import { KubeApi } from "../../kubernetes/api.ts";
import { BadServer, json, refusal, until } from "../../kubernetes/testing/server.ts";
import { Things } from "../../kubernetes/testing/things.ts";
import { Pods } from "./pods.ts";

const never = new AbortController().signal;
const made: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of made.splice(0).reverse()) await one.close();
});

async function start(patience: number): Promise<{ things: Things; pods: Pods; server: BadServer; troubles: Error[] }> {
  const things = new Things();
  const server = await BadServer.start(things.answer);
  made.push({ close: () => server[Symbol.asyncDispose]() });
  const api = new KubeApi(server.access);
  made.push(api);
  const troubles: Error[] = [];
  const pods = new Pods({
    api,
    cluster: "far",
    installation: "one",
    onGone: () => undefined,
    onTrouble: (error) => void troubles.push(error),
    patience,
  });
  made.push({ close: () => pods[Symbol.asyncDispose]() });
  return { things, pods, server, troubles };
}

it("is told for a while after the watch broke, and then nobody acts on it until the cluster tells again", async () => {
  const { things, pods, troubles } = await start(4_000);
  await pods.ready(never);
  await until(() => things.watchers.size === 1);
  things.instead = (_url, response) => (json(response, 403, refusal(403, "Forbidden")), true);
  things.cut();
  await until(() => troubles.length > 0);
  await pods.ready(never);
  await expect
    .poll(
      () =>
        pods.ready(never).then(
          () => "ready",
          (error: unknown) => error,
        ),
      { timeout: 30_000 },
    )
    .toMatchObject({ failure: { code: "cluster_unreachable", params: { cluster: "far", reason: "Forbidden, it says" } }, retryable: true });
  things.instead = undefined;
  await expect.poll(() => pods.ready(never).then(() => "ready"), { timeout: 30_000 }).toBe("ready");
});

it("is waited for at the first question, and no longer than its patience", async () => {
  const { things, pods } = await start(300);
  things.instead = () => true;
  await expect(pods.ready(never)).rejects.toMatchObject({ failure: { code: "cluster_unreachable" } });
});
