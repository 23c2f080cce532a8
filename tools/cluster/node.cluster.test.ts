// The cluster is a real one: what a pod may expect of any Kubernetes is there.
import { existsSync } from "node:fs";
import { describe, expect, inject, test } from "vitest";
import { pushTo } from "./images.ts";
import { read } from "./kube.ts";
import { at } from "./settings.ts";
import { clusterImages, eventually, service, testNamespace, webServer } from "./testing.ts";

const { missing, registry } = inject("cluster");
/** Of kubectl, for what starts. */
const patience = "--timeout=120s";

describe.skipIf(missing !== undefined)(`a node of the test cluster${missing === undefined ? "" : ` (${missing})`}`, () => {
  test("a Deployment becomes ready, and another pod reaches it by its Service's name", async () => {
    await using space = await testNamespace();
    await space.apply(webServer("web", { replicas: 2 }), service("web"));
    await space.run("rollout", "status", "deployment/web", patience);
    await space.apply(shell("asks"));
    await space.run("wait", "--for=condition=Ready", "pod/asks", patience);
    const ask = (url: string) => space.run("exec", "asks", "--", "timeout", "20", "wget", "-q", "-O", "-", url);
    const seen = await eventually("answers of both instances", async () => {
      const answers = new Set<string>();
      for (let round = 0; round < 10; round += 1) answers.add((await ask("http://web/")).trim());
      return answers.size === 2 ? answers : undefined;
    });
    for (const answer of seen) expect(answer).toMatch(/^web of web-/);
    expect(await ask(`http://web.${space.name}.svc.cluster.local/`)).toMatch(/^web of web-/);
    // A name that is not there is answered with "no", not with silence.
    await expect(ask("http://nobody/")).rejects.toMatchObject({ output: expect.stringContaining("bad address") as unknown });
  });

  test("exec runs in the container, and logs are those of its program", async () => {
    await using space = await testNamespace();
    await space.apply(shell("talks", "echo first; echo second >&2; exec sleep 300"));
    await space.run("wait", "--for=condition=Ready", "pod/talks", patience);
    expect(await space.run("exec", "talks", "--", "sh", "-c", "hostname; id -u")).toBe("talks\n0\n");
    await expect(space.run("exec", "talks", "--", "sh", "-c", "exit 3")).rejects.toMatchObject({
      output: expect.stringContaining("exit code 3") as unknown,
    });
    const lines = await eventually("both lines", async () => {
      const text = await space.run("logs", "talks");
      return text.includes("second") && text;
    });
    expect(lines.trim().split("\n").sort()).toEqual(["first", "second"]);
  });

  test("metrics-server tells what a pod uses", async () => {
    await using space = await testNamespace();
    await space.apply(shell("busy", "while :; do :; done"));
    await space.run("wait", "--for=condition=Ready", "pod/busy", patience);
    interface Usage {
      readonly containers: readonly { readonly usage: { readonly cpu: string; readonly memory: string } }[];
    }
    // It is limited to a tenth of a core. What is told of its first seconds may be less.
    await eventually("figure of about a tenth of a core", async () => {
      const found = await read<Usage>(`/apis/metrics.k8s.io/v1beta1/namespaces/${space.name}/pods/busy`);
      const nanocores = Number(/^(\d+)n$/.exec(found?.containers[0]?.usage.cpu ?? "")?.[1] ?? 0);
      if (nanocores > 20e6 && nanocores < 150e6) return true;
      throw new Error(`it is said to use ${String(nanocores)} nanocores`);
    });
  });

  test("a claim gets a volume that outlives its pods, and goes with it", async () => {
    await using space = await testNamespace();
    const claim = {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data" },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
    };
    const user = (name: string, script: string): object => mounting(shell(name, script), "data", 1000);
    const ended = (name: string) => space.run("wait", "--for=jsonpath={.status.phase}=Succeeded", `pod/${name}`, patience);
    await space.apply(claim, user("writes", "echo kept > /data/file"));
    await ended("writes");
    await space.run("delete", "pod", "writes");
    await space.apply(user("reads", "cat /data/file"));
    await ended("reads");
    expect(await space.run("logs", "reads")).toBe("kept\n");
    const volume = await space.run("get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}");
    await space.run("delete", "pod/reads", "pvc/data");
    await eventually("end of the volume", async () => (await read(`/api/v1/persistentvolumes/${volume}`)) === undefined);
    expect(existsSync(at("volumes", volume))).toBe(false);
  });

  test("an image is pulled from the local registry by its digest, and one that is not there is told of", async () => {
    const { pulled, pulledImage } = await clusterImages();
    await using space = await testNamespace();
    await space.apply(shell("pulls", "exec sleep 300", pulled), shell("lacks", "true", `${registry}/test/${space.name}:1`));
    await space.run("wait", "--for=condition=Ready", "pod/pulls", patience);
    expect(await space.run("get", "pod", "pulls", "-o", "jsonpath={.status.containerStatuses[0].imageID}")).toContain(pulledImage.digest);
    const reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    await eventually("reason", async () => /^(ErrImagePull|ImagePullBackOff)$/.test(await space.run("get", "pod", "lacks", "-o", reason)));
    // And runs once it is.
    await pushTo(registry, `test/${space.name}`, "1", pulledImage);
    await eventually(
      "pod",
      async () => (await space.run("get", "pod", "lacks", "-o", "jsonpath={.status.phase}")) === "Succeeded",
      // A kubelet that failed some times waits up to five minutes.
      330_000,
    );
  });
});

function mounting(pod: object, claimName: string, runAsUser: number): object {
  const { spec, ...rest } = pod as { spec: { containers: object[] } };
  const [container = {}] = spec.containers;
  const mounts = [{ name: "v", mountPath: "/data" }];
  const volumes = [{ name: "v", persistentVolumeClaim: { claimName } }];
  return { ...rest, spec: { ...spec, volumes, securityContext: { runAsUser }, containers: [{ ...container, volumeMounts: mounts }] } };
}

function shell(name: string, script = "exec sleep 300", image = "localhost/berth-shell:1"): object {
  const container = { name: "c", image, args: ["-c", script], resources: { limits: { cpu: "100m", memory: "64Mi" } } };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { terminationGracePeriodSeconds: 0, restartPolicy: "Never", containers: [container] },
  };
}
