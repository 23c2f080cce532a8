// What tests on the cluster share: a namespace of their own, waiting, and images.
import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { loadImage, makeImage, pushTo, shellContent, shellImage, type TestImage } from "./images.ts";
import { apply, kubectl } from "./kube.ts";
import { registry } from "./settings.ts";

export interface TestNamespace extends AsyncDisposable {
  readonly name: string;
  /** kubectl in it. */
  run(...args: readonly string[]): Promise<string>;
  /** Applies objects that name no namespace into it. */
  apply(...objects: readonly object[]): Promise<void>;
}

/** Goes with everything in it when the test is over; the test does not wait for that. */
export async function testNamespace(prefix = "test"): Promise<TestNamespace> {
  const name = `${prefix}-${randomBytes(4).toString("hex")}`;
  await apply(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name } }));
  return {
    name,
    run: (...args) => kubectl(["-n", name, ...args]),
    apply: (...objects) => apply(objects.map((each) => JSON.stringify(within(each, name))).join("\n---\n")),
    [Symbol.asyncDispose]: async () => {
      await kubectl(["delete", "namespace", name, "--wait=false"]);
    },
  };
}

function within(object: object, namespace: string): object {
  const { metadata = {} } = object as { metadata?: object };
  return { ...object, metadata: { namespace, ...metadata } };
}

/** Waits until `look` gives something else than undefined or false; what it throws means "not yet". Rejects after `patience` ms with the last of that. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined | false>, patience = 60_000): Promise<T> {
  let last: unknown;
  for (const end = performance.now() + patience; performance.now() < end; await pause(100)) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`no ${what} after ${String(patience / 1000)} s`, { cause: last });
}

export interface ClusterImages {
  /** busybox with all of its programs; `sh` is the entry point. In the node's containerd: never pulled. */
  readonly shell: string;
  /** The same in the local registry, by digest: it has to be pulled. */
  readonly pulled: string;
  readonly image: TestImage;
}

/** The images that most tests need. The registry part has to be up. */
export async function clusterImages(): Promise<ClusterImages> {
  const image = await makeImage(await shellContent());
  await loadImage(shellImage, image);
  await pushTo(registry, "test/shell", "1", image);
  return { shell: shellImage, pulled: `${registry}/test/shell@${image.digest}`, image };
}
