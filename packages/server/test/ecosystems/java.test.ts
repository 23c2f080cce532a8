// Java, built and run for real: Maven with a dependency, Gradle, and a jar that is built already.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestHost } from "../../src/builders/testing/host.ts";
import { answers, built, ecosystemHost, userWith, type Files } from "./project.ts";

const server = (package_: string, imports: string, answer: string): string => `${package_}${imports}
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Hello {
  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(System.getenv("HOST"), Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", exchange -> {
      byte[] body = (${answer}).getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
`;
const maven: Files = {
  "pom.xml": `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.example</groupId>
  <artifactId>hello</artifactId>
  <version>1.0.0</version>
  <properties>
    <maven.compiler.source>11</maven.compiler.source>
    <maven.compiler.target>11</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
    <exec.mainClass>com.example.Hello</exec.mainClass>
  </properties>
  <dependencies>
    <dependency>
      <groupId>com.google.code.gson</groupId>
      <artifactId>gson</artifactId>
      <version>2.10.1</version>
    </dependency>
  </dependencies>
</project>
`,
  "src/main/java/com/example/Hello.java": server(
    "package com.example;\n\n",
    "import com.google.gson.Gson;\n",
    "new Gson().toJson(new int[] { 1, 2 })",
  ),
};

const withMaven = await userWith([
  ["java", ">=11"],
  ["maven", "*"],
]);
describe.skipIf(withMaven === undefined)("Maven", () => {
  let host: TestHost;
  beforeAll(async () => {
    host = await ecosystemHost(withMaven ?? "own");
  });
  afterAll(async () => {
    await host?.dispose();
  });

  it("a project with a dependency is built, and its main class answers on its port", async () => {
    const made = await built(host, maven);
    expect(made.plan.warnings).toEqual([]);
    expect(await answers(host, made)).toEqual({ status: 200, body: "[1,2]" });
  }, 300_000);
});

const gradle: Files = {
  "settings.gradle": "rootProject.name = 'hello'\n",
  "build.gradle": `apply plugin: "java"
apply plugin: "application"

sourceCompatibility = 11
mainClassName = "com.example.Hello"
`,
  "src/main/java/com/example/Words.java": 'package com.example;\n\nclass Words {\n  static final String HELLO = "from Gradle";\n}\n',
  "src/main/java/com/example/Hello.java": server("package com.example;\n\n", "", "Words.HELLO"),
};

const withGradle = await userWith([
  ["java", ">=11"],
  ["gradle", "*"],
]);
describe.skipIf(withGradle === undefined)("Gradle", () => {
  let host: TestHost;
  beforeAll(async () => {
    host = await ecosystemHost(withGradle ?? "own");
  });
  afterAll(async () => {
    await host?.dispose();
  });

  it("a project with the application plugin is built, and what it installs answers on its port", async () => {
    const made = await built(host, gradle);
    expect(made.plan.warnings).toEqual([]);
    expect(await answers(host, made)).toEqual({ status: 200, body: "from Gradle" });
  }, 300_000);
});

const withJava = await userWith([["java", ">=11"]]);
describe.skipIf(withJava === undefined)("a jar", () => {
  let host: TestHost;
  let folder: string;
  beforeAll(async () => {
    host = await ecosystemHost(withJava ?? "own");
    folder = mkdtempSync(join(tmpdir(), "berth-jar-"));
  });
  afterAll(async () => {
    await host?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  it("that is built already is run as it is", async () => {
    writeFileSync(join(folder, "Hello.java"), server("", "", '"from a jar"'));
    execFileSync("javac", ["--release", "11", "-d", folder, join(folder, "Hello.java")]);
    execFileSync("jar", ["--create", "--file", join(folder, "hello.jar"), "--main-class", "Hello", "-C", folder, "Hello.class"]);
    const made = await built(host, { "hello.jar": readFileSync(join(folder, "hello.jar")) });
    expect(made.steps).toEqual([]);
    expect(await answers(host, made)).toEqual({ status: 200, body: "from a jar" });
  }, 120_000);
});
