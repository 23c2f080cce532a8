// What the daemon tells while it pulls, as figures that only go forwards.
import { expect, it } from "vitest";
import { PullProgress, type PullMessage } from "./pullprogress.ts";

const after = (...messages: PullMessage[]) => {
  const progress = new PullProgress();
  for (const one of messages) progress.take(one);
  return progress.state(0);
};
const downloading = (id: string, current: number, total: number): PullMessage => ({
  ...{ id, status: "Downloading", progressDetail: { current, total } },
});

it("counts layers and bytes, and no total before every layer's is known", () => {
  const begun = [
    { id: "1", status: "Pulling from others/base" },
    { id: "a", status: "Already exists" },
    { id: "b", status: "Pulling fs layer", progressDetail: {} },
    { id: "c", status: "Waiting", progressDetail: {} },
    downloading("b", 50, 200),
  ];
  expect(after(...begun)).toEqual({ layers: 3, there: 1, bytes: 50, quiet: 0 });
  expect(after(...begun, downloading("c", 10, 100))).toEqual({ layers: 3, there: 1, bytes: 60, total: 300, quiet: 0 });
});

it("takes what is unpacked for downloaded, whatever figures it is told with", () => {
  const done = [downloading("b", 50, 200), { id: "b", status: "Download complete" }];
  expect(after(...done)).toMatchObject({ bytes: 200, total: 200, there: 0 });
  const unpacking = { id: "b", status: "Extracting", progressDetail: { current: 7, total: 999 } };
  expect(after(...done, unpacking)).toMatchObject({ bytes: 200, total: 200, there: 0 });
  expect(after(...done, unpacking, { id: "b", status: "Pull complete" })).toMatchObject({ bytes: 200, total: 200, there: 1 });
});

it("does not go back when a layer begins again, and has no figures where none are told", () => {
  expect(after(downloading("b", 150, 200), { id: "b", status: "Retrying in 5 seconds" }, downloading("b", 1, 200))).toMatchObject({
    bytes: 150,
  });
  expect(after()).toEqual({ layers: 0, there: 0, bytes: 0, quiet: 0 });
  expect(after({ status: "Digest: sha256:x" }, { id: "x", status: "something new" })).toMatchObject({ layers: 0 });
});
