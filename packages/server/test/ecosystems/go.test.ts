// Go, built and run for real: a module with a dependency, and a go.work with two modules.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestHost } from "../../src/builders/testing/host.ts";
import { answers, built, ecosystemHost, userWith, type Files } from "./project.ts";

const user = await userWith([["go", ">=1.18.0"]]);

/** Without net/http, whose first compilation alone takes longer than all else here. */
const server = (word: string, imported: string): string => `package main

import (
	"fmt"
	"net"
	"os"

	"${imported}"
)

func main() {
	listener, err := net.Listen("tcp", os.Getenv("HOST")+":"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		connection.Read(make([]byte, 4096))
		connection.Write([]byte("HTTP/1.0 200 OK\\r\\n\\r\\n" + fmt.Sprint(${word})))
		connection.Close()
	}
}
`;
const module_: Files = {
  "go.mod": "module example.com/hello\n\ngo 1.18\n\nrequire github.com/cespare/xxhash/v2 v2.3.0\n",
  "go.sum":
    "github.com/cespare/xxhash/v2 v2.3.0 h1:UL815xU9SqsFlibzuggzjXhog7bL6oX9BbNZnL2UFvs=\ngithub.com/cespare/xxhash/v2 v2.3.0/go.mod h1:VGX0DQ3Q6kWi7AoAeZDth3/j3BFtOZR5XLFGgcrjCOs=\n",
  "main.go": server('fmt.Sprintf("%x", xxhash.Sum64String(""))', "github.com/cespare/xxhash/v2"),
};

describe.skipIf(user === undefined)("Go", () => {
  let host: TestHost;
  beforeAll(async () => {
    host = await ecosystemHost(user ?? "own");
  });
  afterAll(async () => {
    await host?.dispose();
  });

  it("a module with a dependency becomes a program that answers on its port, and the second build takes its modules from the cache", async () => {
    const made = await built(host, module_);
    expect(await answers(host, made)).toEqual({ status: 200, body: "ef46db3751d8e999" });
    const again = await built(host, { ...module_, "README.md": "changed" });
    expect(again.text).not.toContain("downloading");
  }, 300_000);

  it("a member of a go.work is built with the modules beside it", async () => {
    const made = await built(
      host,
      {
        "go.work": "go 1.18\n\nuse (\n\t./api\n\t./lib\n)\n",
        "lib/go.mod": "module example.com/lib\n\ngo 1.18\n",
        "lib/lib.go": 'package lib\n\nfunc Word() string { return "from lib" }\n',
        "api/go.mod": "module example.com/api\n\ngo 1.18\n",
        "api/main.go": server("lib.Word()", "example.com/lib"),
      },
      { root: "api" },
    );
    expect(made.plan.root).toBe(".");
    expect(await answers(host, made)).toEqual({ status: 200, body: "from lib" });
  }, 300_000);
});
