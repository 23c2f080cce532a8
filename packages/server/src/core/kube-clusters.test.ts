// Kubernetes clusters as people add them.
import { describe, expect, it } from "vitest";
import { addressOf, isKube, wantedKube } from "./kube-clusters.ts";

const kubeconfig = JSON.stringify({
  apiVersion: "v1",
  kind: "Config",
  "current-context": "main",
  clusters: [{ name: "prod", cluster: { server: "https://10.0.0.1:6443" } }],
  contexts: [
    { name: "main", context: { cluster: "prod", user: "robot" } },
    { name: "other", context: { cluster: "prod", user: "robot" } },
  ],
  users: [{ name: "robot", user: { token: "secret-token" } }],
});

describe("a cluster that is wanted", () => {
  it("is what its kubeconfig says, with what was chosen", () => {
    expect(
      wantedKube({ kubeconfig, context: "other", gateway: "infra/public", address: "apps.example.com:8080" }, "apps.example.com"),
    ).toEqual({
      wanted: {
        access: { server: "https://10.0.0.1:6443", auth: { kind: "token", token: "secret-token" } },
        context: "other",
        domain: "apps.example.com",
        gateway: { namespace: "infra", name: "public" },
        address: { host: "apps.example.com", port: 8080 },
      },
    });
  });

  it("leaves open what the cluster has to say", () => {
    expect(wantedKube({ kubeconfig }, "a.example")).toMatchObject({ wanted: { context: "main" } });
    expect(wantedKube({ kubeconfig }, "a.example")).not.toHaveProperty("wanted.builder");
    expect(wantedKube({ kubeconfig }, "a.example")).not.toHaveProperty("wanted.gateway");
  });

  it("takes what is usual for a builder that says no more than how it runs", () => {
    const builder = (of: NonNullable<Parameters<typeof wantedKube>[0]["builder"]>) => {
      const read = wantedKube({ kubeconfig, builder: of }, "a.example");
      return "wanted" in read ? read.wanted.builder : undefined;
    };
    const image = "docker.io/moby/buildkit:v0.26.3";
    expect(builder({ mode: "rootless" })).toEqual({ mode: "rootless", image: `${image}-rootless`, cacheGb: 20 });
    expect(builder({ mode: "privileged" })).toEqual({ mode: "privileged", image, cacheGb: 20 });
    expect(builder({ mode: "rootless", image: "mine:1", cacheGb: 0 })).toEqual({ mode: "rootless", image: "mine:1", cacheGb: 0 });
  });

  it("is the pod's own without a kubeconfig", () => {
    expect(wantedKube({}, "a.example")).toEqual({ wanted: { access: "in-cluster", context: "in-cluster", domain: "a.example" } });
    expect(wantedKube({ context: "main" }, "a.example")).toMatchObject({
      refusal: { reason: "a context belongs to a kubeconfig, and none was given" },
    });
  });

  it("is refused in words, without a secret in them", () => {
    for (const refused of [wantedKube({ kubeconfig }, undefined), wantedKube({ kubeconfig: "garbage: [" }, "a.example")]) {
      expect(refused).toHaveProperty("refusal.hint");
      expect(JSON.stringify(refused)).not.toContain("secret-token");
    }
  });
});

describe("an address", () => {
  it.each([
    ["gate.example.com", { host: "gate.example.com", port: 80 }],
    ["10.0.0.7:8000", { host: "10.0.0.7", port: 8000 }],
    ["[fd00::1]:8443", { host: "fd00::1", port: 8443 }],
    ["[fd00::1]", { host: "fd00::1", port: 80 }],
  ])("%s", (text, address) => expect(addressOf(text)).toEqual(address));
});

describe("facts", () => {
  it("tell a cluster from a Docker host", () => {
    const address = { host: "h", port: 80 };
    expect(isKube({ server: "https://h", context: "c", gateway: { namespace: "n", name: "g" }, address })).toBe(true);
    expect(isKube({ endpoint: "tcp://h:1", home: "/h", socket: "/s", httpPort: 80, httpsPort: 443 })).toBe(false);
  });
});
