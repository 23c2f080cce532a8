// Rust, built and run for real: a crate with a dependency that is a member of a workspace.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestHost } from "../../src/builders/testing/host.ts";
import { answers, built, ecosystemHost, locked, userWith, type Files } from "./project.ts";

const user = await userWith([["rust", ">=1.60.0"]]);
const files: Files = {
  "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\n',
  "crates/word/Cargo.toml": '[package]\nname = "word"\nversion = "1.0.0"\nedition = "2021"\n',
  "crates/word/src/lib.rs": 'pub fn text() -> &\'static str { "word" }\n',
  "crates/api/Cargo.toml":
    '[package]\nname = "api"\nversion = "1.0.0"\nedition = "2021"\n\n[dependencies]\nitoa = "=1.0.9"\nword = { path = "../word" }\n',
  "crates/api/src/main.rs": `use std::io::{Read, Write};

fn main() {
    let address = format!("{}:{}", std::env::var("HOST").unwrap(), std::env::var("PORT").unwrap());
    for stream in std::net::TcpListener::bind(address).unwrap().incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = write!(stream, "HTTP/1.0 200 OK\\r\\n\\r\\n{} {}", word::text(), itoa::Buffer::new().format(42));
    }
}
`,
};

describe.skipIf(user === undefined)("Rust", () => {
  let host: TestHost;
  beforeAll(async () => {
    host = await ecosystemHost(user ?? "own");
  });
  afterAll(async () => {
    await host?.dispose();
  });

  it("a member of a workspace with a dependency becomes a program that answers on its port", async () => {
    const made = await built(host, await locked(files, "Cargo.lock", "rust", ">=1.60.0", ["generate-lockfile"]), { root: "crates/api" });
    expect(made.plan).toMatchObject({ root: ".", warnings: [] });
    expect(await answers(host, made)).toEqual({ status: 200, body: "word 42" });
  }, 300_000);
});
