// Secrets at rest: readable only with the key, in their own place, and unharmed by a change of keys.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dropSecretKey, openSecretBox, rotateSecretKey } from "./secretbox.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-box-"));
  path = join(folder, "secrets.key");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the secret box", () => {
  it("gives back any text, to its own identity only, and never the same ciphertext twice", () => {
    const box = openSecretBox(path);
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), fc.string(), fc.string(), (value, identity, other) => {
        const sealed = box.seal(value, identity);
        expect(box.open(sealed, identity)).toBe(value);
        expect(box.seal(value, identity)).not.toBe(sealed);
        if (other !== identity) expect(() => box.open(sealed, other)).toThrow();
      }),
    );
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("refuses a ciphertext that was touched anywhere", () => {
    const box = openSecretBox(path);
    const sealed = box.seal("hunter2 and more", "secret:a");
    const body = sealed.lastIndexOf(".") + 1;
    const raw = Buffer.from(sealed.slice(body), "base64url");
    for (let n = 0; n < raw.length; n += 1) {
      const changed = Buffer.from(raw);
      changed[n] = (changed[n] ?? 0) ^ 1;
      expect(() => box.open(sealed.slice(0, body) + changed.toString("base64url"), "secret:a")).toThrow();
    }
    expect(() => box.open(sealed.slice(0, -8), "secret:a")).toThrow();
    for (const wrong of ["", "v1", "v2.k0.AAAA", "plain text"]) expect(() => box.open(wrong, "secret:a")).toThrow("not a ciphertext");
  });

  it("opens old rows after a rotation, wraps them anew, and then does without the old key", () => {
    const before = openSecretBox(path);
    const old = before.seal("value", "secret:a");
    const id = rotateSecretKey(path);
    const box = openSecretBox(path);
    expect(box.currentKey).toBe(id);
    expect(box.open(old, "secret:a")).toBe("value");
    const wrapped = box.rewrap(old, "secret:a") ?? "";
    expect(wrapped).toContain(`.${id}.`);
    expect(box.rewrap(wrapped, "secret:a")).toBeUndefined();
    dropSecretKey(path, before.currentKey);
    expect(openSecretBox(path).open(wrapped, "secret:a")).toBe("value");
    expect(() => openSecretBox(path).open(old, "secret:a")).toThrow(`the key ${before.currentKey}`);
    expect(() => {
      dropSecretKey(path, id);
    }).toThrow("current");
  });

  it("keeps its file when it is opened twice, and never replaces a damaged one", () => {
    const sealed = openSecretBox(path).seal("value", "x");
    expect(openSecretBox(path).open(sealed, "x")).toBe("value");
    const text = readFileSync(path, "utf8");
    writeFileSync(path, "{}");
    expect(() => openSecretBox(path)).toThrow("damaged");
    writeFileSync(path, text.slice(0, 20));
    expect(() => openSecretBox(path)).toThrow();
    expect(readFileSync(path, "utf8")).toBe(text.slice(0, 20));
  });
});
