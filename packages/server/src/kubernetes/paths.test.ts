// Where kinds lie, and that no name leads elsewhere.
import { describe, expect, it } from "vitest";
import { allKinds, apiVersionOf, isKind, isNamespaced, pathOf } from "./paths.ts";

describe("paths", () => {
  it("has those of objects, collections, and parts", () => {
    expect(pathOf("Pod", "shop", "web-1", "log")).toBe("/api/v1/namespaces/shop/pods/web-1/log");
    expect(pathOf("Deployment", "shop", "web", "scale")).toBe("/apis/apps/v1/namespaces/shop/deployments/web/scale");
    expect(pathOf("Pod")).toBe("/api/v1/pods");
    expect(pathOf("Pod", "shop")).toBe("/api/v1/namespaces/shop/pods");
    expect(pathOf("Namespace", undefined, "shop")).toBe("/api/v1/namespaces/shop");
    expect(pathOf("HTTPRoute", "shop", "web")).toBe("/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/web");
    expect(pathOf("Role", "shop", "system:reader")).toBe("/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/system%3Areader");
  });

  it.each(["", ".", "..", "a/b", "../secrets", "a?b", "a#b", "a%2fb", "a\\b"])("lets no name lead elsewhere: %j", (name) => {
    expect(() => pathOf("Pod", "shop", name)).toThrow(TypeError);
    expect(() => pathOf("Pod", name, "web")).toThrow(TypeError);
    expect(() => pathOf("Pod", "shop", "web", name)).toThrow(TypeError);
  });

  it("wants a namespace where there is one, and none where there is none", () => {
    for (const kind of allKinds) {
      if (isNamespaced(kind)) expect(() => pathOf(kind, undefined, "a")).toThrow(/namespace/);
      else expect(() => pathOf(kind, "shop", "a")).toThrow(/no namespace/);
      expect(apiVersionOf(kind)).toMatch(/^([a-z.0-9]+\/)?v\d$/);
    }
    expect(isKind("Pod")).toBe(true);
    expect(isKind("constructor")).toBe(false);
  });
});
