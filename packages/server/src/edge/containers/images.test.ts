import { expect, it } from "vitest";
import { pullCause } from "./images.ts";

it.each([
  ["manifest for shop/web:9 not found: manifest unknown: manifest unknown", "image_not_found", false],
  [
    "pull access denied for shop/web, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    "image_denied",
    false,
  ],
  ["unauthorized: authentication required", "image_denied", false],
  ["no matching manifest for linux/arm64/v8 in the manifest list entries", "image_other_platform", false],
  ['Get "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', "image_pull_failed", true],
  ["received unexpected HTTP status: 500 Internal Server Error", "image_pull_failed", true],
  ["unknown: manifest unknown: manifest unknown", "image_not_found", false],
])("%s", (said, code, retryable) => {
  expect(pullCause("shop/web:9", said)).toMatchObject({ why: { code, params: { image: "shop/web:9" } }, retryable });
});

it("tells a digest that its registry has lost from a name that was never there", () => {
  const image = `registry.example/shop/web@sha256:${"0a".repeat(32)}`;
  expect(pullCause(image, `manifest for ${image} not found: manifest unknown`)).toMatchObject({
    why: { code: "image_lost", params: { image } },
    retryable: false,
  });
});
