// The main job on the Docker engine, over a real dockerd, and what matters most of it over podman's service: the rest is in podman.long.test.ts.
import { describe } from "vitest";
import { engineTests } from "./engine-tests.ts";
import { engines } from "./place.ts";

describe.each(engines)("the Docker engine on %s", (kind, missing) => {
  engineTests(kind, missing, kind === "docker" ? "all" : "first");
});
