// Who a hint is for: whoever works on the component hears it and nobody is sent after them; who only listens does not keep it from the component's loop.
import { afterEach, beforeEach, expect, it } from "vitest";
import { defaultSpec } from "@berth/contract/spec.ts";
import { useServices } from "../../test/services.ts";
import { silentLog } from "../db/log.ts";
import type { Ref } from "../engines/engine.ts";
import { FakeEngine } from "../engines/fake.ts";
import { createHints, type Hints } from "./hints.ts";

const services = useServices();
const never = new AbortController().signal;
const long = 60_000;
let ref: Ref;
let stacks = 0;
let life: AbortController;
let hints: Hints;
let hint: (ref: Ref) => void;
let running: Promise<void>;

/** An engine that hints at what the test says. */
class HintingEngine extends FakeEngine {
  readonly watched = Promise.withResolvers<(ref: Ref) => void>();
  override watch(onChange: (ref: Ref) => void, signal: AbortSignal): Promise<void> {
    this.watched.resolve(onChange);
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }
}

const due = () => services().database.db.selectFrom("due").select("key").where("kind", "=", "component").execute();

beforeEach(async () => {
  const { handlers, call, database } = services();
  ref = { stack: `hinted-${String((stacks += 1))}`, component: "app" };
  await handlers.createStack({ body: { name: ref.stack } }, call());
  await handlers.setComponent({ params: ref, body: { ...defaultSpec("worker"), build: { context: "." } } }, call());
  await database.db.deleteFrom("due").execute();
  life = new AbortController();
  const engine = new HintingEngine({ now: Date.now });
  hints = createHints({ db: database.db, log: silentLog });
  running = hints.listen("local", engine, life.signal);
  hint = await engine.watched.promise;
});
afterEach(async () => {
  life.abort();
  await running;
});

it("puts the component on its loop's list when nobody works on it", async () => {
  hint(ref);
  await expect.poll(async () => (await due()).length).toBe(1);
});

it("is heard by who works on the component, and goes no further", async () => {
  const heard = hints.waitForHint({ ...ref, cluster: "local" }, long, never);
  hint(ref);
  await heard;
  hint({ ...ref, component: "other" });
  await expect.poll(async () => (await due()).length).toBe(0);
});

it("goes to the loop also while somebody listens, who hears it too", async () => {
  const heard = hints.overhear({ ...ref, cluster: "local" }, long, never);
  hint(ref);
  await heard;
  await expect.poll(async () => (await due()).length).toBe(1);
});

it("is heard in its own cluster only", async () => {
  const elsewhere = new AbortController();
  const heard = hints.waitForHint({ ...ref, cluster: "elsewhere" }, long, elsewhere.signal);
  hint(ref);
  await expect.poll(async () => (await due()).length).toBe(1);
  elsewhere.abort();
  await heard;
});

it("ends a wait when its time is over, and with its signal", async () => {
  await hints.waitForHint({ ...ref, cluster: "local" }, 5, never);
  await hints.overhear({ ...ref, cluster: "local" }, long, AbortSignal.timeout(5));
});
