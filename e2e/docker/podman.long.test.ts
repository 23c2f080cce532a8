// All of the Docker engine's tests on podman's service, which takes some minutes.
import { describe } from "vitest";
import { engineTests } from "./engine-tests.ts";
import { engines } from "./place.ts";
import { volumeTests } from "./volume-tests.ts";

describe.each(engines.filter(([kind]) => kind === "podman"))("%s", (kind, missing) => {
  describe("as the Docker engine", () => {
    engineTests(kind, missing, "all");
  });
  describe("volumes", () => {
    volumeTests(kind, missing);
  });
});
