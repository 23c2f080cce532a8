// Values of secrets over time: which components still run with an older one, and what is said where one cannot be opened any more (promise 6).
import { join } from "node:path";
import { sql } from "kysely";
import { expect, test } from "vitest";
import type { Secret } from "@berth/contract/resources/config.ts";
import { defaultSpec, type ComponentSpec } from "@berth/contract/spec.ts";
import { openSecretBox } from "../src/db/secretbox.ts";
import { Scene } from "./scene.ts";
import { useServices } from "./services.ts";

const services = useServices();
const spec: ComponentSpec = { ...defaultSpec("web"), build: { context: "." }, command: { exec: ["app"] } };

async function sceneWith(value: string) {
  const scene = new Scene(services());
  await scene.create();
  const { handlers, call } = services();
  const { stack } = scene.ref;
  const set = (next: string): Promise<Secret> =>
    handlers.setSecret({ params: { stack, secret: "password" }, body: { value: next } }, call());
  const shown = async (): Promise<Secret | undefined> => (await handlers.listSecrets({ params: { stack }, query: {} }, call())).items[0];
  const deploy = async (version: number): Promise<number> => scene.deploy(spec, "succeeded", { PASSWORD: { secret: "password", version } });
  await set(value);
  expect(await scene.rolledOut(await deploy(1))).toMatchObject({ phase: "succeeded" });
  return { scene, set, shown, deploy };
}

/** As after a start that went on without the keys: the rows are there, sealed with a key that nobody has. */
async function loseKeys(): Promise<void> {
  const gone = openSecretBox(join(services().home, "gone.key"));
  await sql`update secrets set ciphertext = ${gone.seal("x", "y")}`.execute(services().database.db);
}

test("a value that was set and not deployed yet names the components that run with an older one", async () => {
  const { scene, set, shown, deploy } = await sceneWith("first");
  expect(await shown()).toMatchObject({ version: 1, pendingIn: [] });
  expect(await set("second")).toMatchObject({ version: 2, pendingIn: ["app"] });
  await scene.rolledOut(await deploy(2));
  expect(await shown()).toMatchObject({ version: 2, pendingIn: [] });
});

test("a value that cannot be opened fails what needs it with its cause, leaves alone what runs, and can be set again", async () => {
  const { scene, set, shown, deploy } = await sceneWith("first");
  const [before] = await scene.instances();
  await loseKeys();
  const why = { code: "secret_unreadable", params: { secret: "password", version: 1 } };
  expect(await shown()).toMatchObject({ version: 1, cause: why });
  expect(await scene.rolledOut(await deploy(1))).toMatchObject({ phase: "failed", cause: why });
  expect((await scene.instances()).map(({ id }) => id)).toEqual([before?.id]);
  // More instances of what runs cannot be started either, and the component says why.
  const { handlers, call } = services();
  await handlers.scaleComponent({ params: scene.ref, body: { replicas: 2 } }, call());
  await expect(scene.pass()).rejects.toMatchObject({ code: "secret_unreadable" });
  expect(await scene.row()).toMatchObject({ state: "degraded", ready: 1, cause: why });
  await expect(scene.pass()).rejects.toMatchObject({ code: "secret_unreadable" });
  const told = await sql`select 1 from events where code = 'component_state' and params->>'state' = 'degraded'`.execute(
    services().database.db,
  );
  expect(told.rows).toHaveLength(1);

  expect(await set("second")).not.toHaveProperty("cause");
  expect(await scene.rolledOut(await deploy(2))).toMatchObject({ phase: "succeeded" });
  expect(await scene.row()).toMatchObject({ state: "healthy", ready: 2, cause: null });
});
