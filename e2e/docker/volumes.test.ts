// Volumes of a whole Berth, their archives above all; on podman in podman.long.test.ts.
import { describe } from "vitest";
import { engines } from "./place.ts";
import { volumeTests } from "./volume-tests.ts";

describe.each(engines.filter(([kind]) => kind === "docker"))("volumes on %s", (kind, missing) => {
  volumeTests(kind, missing);
});
