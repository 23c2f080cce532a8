import { expect, it } from "vitest";
import { digestOf, isBelow, isFollowed, isLoopback, partsOf, registryOf, repositoryFor, repositoryOf } from "./reference.ts";

const digest = `sha256:${"0a".repeat(32)}`;

it.each([
  ["nginx:1", "default", "nginx"],
  ["library/nginx", "default", "library/nginx"],
  ["Registry.example/shop/web:2", "registry.example", "Registry.example/shop/web"],
  ["localhost/web", "localhost", "localhost/web"],
  [`127.0.0.1:5000/shop/web@${digest}`, "127.0.0.1:5000", "127.0.0.1:5000/shop/web"],
  [`host:5000/shop/web:2@${digest}`, "host:5000", "host:5000/shop/web"],
])("%s leads to %s", (name, registry, repository) => {
  expect({ registry: registryOf(name), repository: repositoryOf(name) }).toEqual({ registry, repository });
  expect(digestOf(name)).toBe(name.includes("@") ? digest : undefined);
});

it.each([
  ["nginx", "default", "nginx", "latest"],
  ["docker.io/library/nginx:1.29", "default", "nginx", "1.29"],
  ["index.docker.io/shop/web", "default", "shop/web", "latest"],
  ["library/nginx/x:2", "default", "library/nginx/x", "2"],
  ["registry.example:5000/shop/web:v1", "registry.example:5000", "shop/web", "v1"],
  ["localhost/web", "localhost", "web", "latest"],
  [`host:5000/library/web:2@${digest}`, "host:5000", "library/web", "2"],
])("%s has parts", (name, registry, repository, tag) => {
  expect(partsOf(name)).toEqual({ registry, repository, tag });
});

it("follows tags, and not what names one image for ever", () => {
  expect(["nginx", "host:5000/web:1", `web:1@${digest}`, undefined].map(isFollowed)).toEqual([true, true, false, false]);
});

it("trusts no other machine without TLS", () => {
  expect(["127.0.0.1:5000", "127.9.9.9", "localhost:1"].map(isLoopback)).toEqual([true, true, true]);
  expect(["127.0.0.1.example", "registry.example:5000", "10.0.0.1:5000"].map(isLoopback)).toEqual([false, false, false]);
});

it("gives each context of a stack a repository that registries accept", () => {
  const name = (context: string): string => repositoryFor("r.example/berth", { team: "default", stack: "shop", context });
  expect(["web", ".", "services/API_v2", "--", "ü"].map(name)).toEqual([
    "r.example/berth/default/shop/web",
    "r.example/berth/default/shop/source",
    "r.example/berth/default/shop/services-api-v2",
    "r.example/berth/default/shop/source",
    "r.example/berth/default/shop/source",
  ]);
});

it("knows its own part of a registry", () => {
  expect(isBelow("r.example/berth", `r.example/berth/default/shop/web@${digest}`)).toBe(true);
  expect(isBelow("r.example/berth", "R.example/berth/default/shop/web:build-1")).toBe(true);
  expect(isBelow("r.example/berth", "r.example/berthold/web:1")).toBe(false);
});
