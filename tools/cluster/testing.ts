// What tests on the cluster share: a namespace of their own, waiting, and images.
import { randomBytes } from "node:crypto";
import { request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { loadImage, makeImage, pushTo, shellContent, shellImage, type TestImage } from "./images.ts";
import { apply, kubectl, read } from "./kube.ts";
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
  // Without it no pod is admitted, and a controller makes it after the namespace.
  await eventually("account of pods", async () => (await read(`/api/v1/namespaces/${name}/serviceaccounts/default`)) !== undefined);
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
export async function eventually<T>(what: string, look: () => Promise<T | undefined | false>, patience = 120_000): Promise<T> {
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
  readonly pulledImage: TestImage;
}

/** The images that most tests need. The registry part has to be up. */
export async function clusterImages(): Promise<ClusterImages> {
  const content = await shellContent();
  await loadImage(shellImage, await makeImage(content));
  const pulledImage = await makeImage({ ...content, labels: { from: "registry" } });
  await pushTo(registry, "test/shell", "1", pulledImage);
  return { shell: shellImage, pulled: `${registry}/test/shell@${pulledImage.digest}`, pulledImage };
}

/** A Deployment whose instances answer on port 8080 with `NAME of POD`, ready within a second. */
export function webServer(
  name: string,
  { replicas = 1, image = shellImage }: { readonly replicas?: number; readonly image?: string } = {},
): object {
  const container = {
    name: "c",
    image,
    args: ["-c", `mkdir -p /tmp/www && echo "${name} of $(hostname)" > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www`],
    ports: [{ containerPort: 8080 }],
    readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 },
    resources: { limits: { cpu: "100m", memory: "64Mi" } },
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { terminationGracePeriodSeconds: 0, containers: [container] } },
    },
  };
}

/** Of such a Deployment, at port 80. */
export function service(name: string): object {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }] },
  };
}

/** A GET with a Host header of its own, which fetch would not send. Rejects unless the answer is 200. */
export async function getFrom(url: string, host: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    request(url, { headers: { host, ...headers } }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      answer.on("end", () => {
        if (answer.statusCode === 200) resolve(text);
        else reject(new Error(`${String(answer.statusCode)} ${text}`));
      });
    })
      .on("error", reject)
      .end();
  });
}
