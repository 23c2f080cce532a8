// A wall clock that is set, on the Docker engine: all of Berth's programs see it at once. The daemon and its containers keep theirs, as those of a host
// elsewhere do, so that what they tell is of another time.
import { describe } from "vitest";
import { clockMissing } from "../clock.ts";
import { clockScenes } from "../clock-scenes.ts";
import { DockerPlace, missing as dockerMissing } from "./place.ts";

const missing = clockMissing() ?? dockerMissing;

describe.skipIf(missing !== undefined)(`a wall clock that is set beside a daemon${missing === undefined ? "" : ` (${missing})`}`, () => {
  clockScenes((prefix) => DockerPlace.open({}, {}, { prefix }));
});
