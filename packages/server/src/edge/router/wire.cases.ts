// What a router has to make of doubtful bytes, as a table: RFC 9112 (messages), RFC 9110 (semantics), and what attackers made of both. `HOST` stands for a routed host.
// A case that is refused must not reach the endpoint, not even in part; a case that passes must reach it as exactly the requests that are named.

export interface WireCase {
  readonly name: string;
  /** Where the rule stands. */
  readonly rule: string;
  readonly send: string;
  /** The answers in order, without those of status 1xx. */
  readonly statuses: readonly number[];
  /** The requests that the endpoint sees: method, target and body. */
  readonly reaches: readonly string[];
  /** The connection must end after the answers; otherwise it has to serve another request properly. */
  readonly closes?: boolean;
  /** Must not be found in what the endpoint received. */
  readonly hides?: RegExp;
  /** Must be found in what the endpoint received. */
  readonly shows?: RegExp;
  /** Must be found in the head of the last answer. */
  readonly answers?: RegExp;
  /** The client ends its side after sending. */
  readonly halfClose?: boolean;
}

const host = "Host: HOST\r\n";
const get = (headers = "", target = "/a"): string => `GET ${target} HTTP/1.1\r\n${host}${headers}\r\n`;
const post = (headers: string, body: string, target = "/a"): string => `POST ${target} HTTP/1.1\r\n${host}${headers}\r\n${body}`;
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";
/** Looks like a request, and is the body of another. */
const inner = "GET /inner HTTP/1.1\r\nHost: other.test\r\n\r\n";
const refused = (name: string, rule: string, send: string, status = 400): WireCase => ({
  name,
  rule,
  send,
  statuses: [status],
  reaches: [],
  closes: true,
});
/** Refused as a whole request, so that the connection goes on. */
const turnedAway = (name: string, rule: string, send: string, status = 400): WireCase => ({
  name,
  rule,
  send,
  statuses: [status],
  reaches: [],
});
const served = (
  name: string,
  rule: string,
  send: string,
  reaches: readonly string[] = ['GET /a ""'],
  more: Partial<WireCase> = {},
): WireCase => ({ name, rule, send, statuses: reaches.map(() => 200), reaches, ...more });

const lengths: readonly WireCase[] = [
  refused(
    "Content-Length and Transfer-Encoding (CL.TE)",
    "RFC 9112, 6.1 and 11.2",
    post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
  ),
  refused(
    "Transfer-Encoding and Content-Length (TE.CL)",
    "RFC 9112, 6.1 and 11.2",
    post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", `5c\r\n${smuggled}\r\n0\r\n\r\n`),
  ),
  refused("two different Content-Length", "RFC 9112, 6.3", post("Content-Length: 3\r\nContent-Length: 44\r\n", `abc${smuggled}`)),
  refused("the same Content-Length twice", "RFC 9112, 6.3 (may be refused)", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc")),
  refused("a list as Content-Length", "RFC 9112, 6.3", post("Content-Length: 3, 44\r\n", `abc${smuggled}`)),
  refused("a negative Content-Length", "RFC 9110, 8.6", post("Content-Length: -3\r\n", "abc")),
  refused("a Content-Length with a plus", "RFC 9110, 8.6", post("Content-Length: +3\r\n", "abc")),
  refused("a hexadecimal Content-Length", "RFC 9110, 8.6", post("Content-Length: 0x3\r\n", "abc")),
  refused("a Content-Length with a space inside", "RFC 9110, 8.6", post("Content-Length: 3 3\r\n", "abc")),
  refused("an empty Content-Length", "RFC 9110, 8.6", post("Content-Length: \r\n", "abc")),
  refused("a Content-Length beyond 64 bits", "RFC 9110, 8.6", post("Content-Length: 99999999999999999999999999\r\n", "abc")),
  served(
    "a Content-Length on GET: the body belongs to it and smuggles nothing",
    "RFC 9110, 9.3.1",
    `GET /a HTTP/1.1\r\n${host}Content-Length: ${String(inner.length)}\r\n\r\n${inner}`,
    [`GET /a ${JSON.stringify(inner)}`],
  ),
  served("leading zeros in a Content-Length", "RFC 9110, 8.6", post("Content-Length: 003\r\n", "abc"), ['POST /a "abc"']),
];

const codings: readonly WireCase[] = [
  refused("an unknown Transfer-Encoding", "RFC 9112, 6.1", post("Transfer-Encoding: xchunked\r\n", `0\r\n\r\n${smuggled}`)),
  refused("chunked that is not last", "RFC 9112, 6.3", post("Transfer-Encoding: chunked, identity\r\n", `0\r\n\r\n${smuggled}`)),
  refused("chunked twice in one field", "RFC 9112, 7", post("Transfer-Encoding: chunked, chunked\r\n", `0\r\n\r\n${smuggled}`)),
  refused(
    "Transfer-Encoding twice, the last unknown",
    "RFC 9112, 6.1",
    post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", `0\r\n\r\n${smuggled}`),
  ),
  refused(
    "Transfer-Encoding twice, the last chunked",
    "RFC 9112, 6.1",
    post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${smuggled}`),
    501,
  ),
  refused("identity", "RFC 9112, 7 (removed)", post("Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "abc")),
  refused(
    "gzip, chunked: a coding that is not understood",
    "RFC 9112, 6.1",
    post("Transfer-Encoding: gzip, chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    501,
  ),
  refused("a vertical tab before chunked", "RFC 9110, 5.5", post("Transfer-Encoding: \u000bchunked\r\n", `0\r\n\r\n${smuggled}`)),
  refused("a space before the colon", "RFC 9112, 5.1", post("Transfer-Encoding : chunked\r\n", `0\r\n\r\n${smuggled}`)),
  refused("a tab before the colon", "RFC 9112, 5.1", post("Transfer-Encoding\t: chunked\r\n", `0\r\n\r\n${smuggled}`)),
  refused("a folded Transfer-Encoding", "RFC 9112, 5.2", post("Transfer-Encoding:\r\n chunked\r\n", `0\r\n\r\n${smuggled}`)),
  refused(
    "a header before which a space hides",
    "RFC 9112, 2.2",
    `POST /a HTTP/1.1\r\n Transfer-Encoding: chunked\r\n${host}\r\n0\r\n\r\n`,
  ),
  refused(
    "HTTP/1.0 with Transfer-Encoding",
    "RFC 9112, 6.1",
    `POST /a HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  ),
  served("chunked in another case", "RFC 9112, 7", post("Transfer-Encoding: Chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), ['POST /a "abc"']),
  served(
    "several chunks and trailers",
    "RFC 9112, 7.1",
    post("Transfer-Encoding: chunked\r\nTrailer: X-T\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"),
    ['POST /a "abcde"'],
  ),
];

const chunks: readonly WireCase[] = [
  refused("a chunk size that is no number", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", `zz\r\nabc\r\n0\r\n\r\n${smuggled}`)),
  refused("a chunk size beyond 64 bits", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n")),
  refused("a negative chunk size", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "-1\r\nabc\r\n0\r\n\r\n")),
  refused("a chunk size with 0x", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "0x3\r\nabc\r\n0\r\n\r\n")),
  refused("a chunk longer than its size", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n")),
  refused("a bare LF after the chunk size", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "3\nabc\r\n0\r\n\r\n")),
  refused("a bare LF after the chunk", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "3\r\nabc\n0\r\n\r\n")),
  refused("a bare CR in a chunk extension", "RFC 9112, 7.1.1", post("Transfer-Encoding: chunked\r\n", "3;a\rb\r\nabc\r\n0\r\n\r\n")),
  refused("a bare LF in a chunk extension", "RFC 9112, 7.1.1", post("Transfer-Encoding: chunked\r\n", "3;a\nabc\r\n0\r\n\r\n")),
  served(
    "a chunk extension: ignored",
    "RFC 9112, 7.1.1",
    post("Transfer-Encoding: chunked\r\n", '3;name=value;x="y"\r\nabc\r\n0\r\n\r\n'),
    ['POST /a "abc"'],
    { hides: /name=value/ },
  ),
  refused(
    "a trailer that names the framing",
    "RFC 9110, 6.5.1",
    post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nContent-Length: 44\r\n\r\n"),
  ),
];

const heads: readonly WireCase[] = [
  refused("bare LF as end of line", "RFC 9112, 2.2 (may be refused)", "GET /a HTTP/1.1\nHost: HOST\n\n"),
  refused("a bare CR inside a value", "RFC 9112, 2.2", get("X-A: b\rGET /smuggled HTTP/1.1\r\n")),
  refused("NUL inside a value", "RFC 9110, 5.5", get("X-A: b\0c\r\n")),
  refused("a control character inside a value", "RFC 9110, 5.5", get("X-A: b\u0001c\r\n")),
  refused("NUL inside a name", "RFC 9110, 5.1", get("X\0A: b\r\n")),
  refused("a space inside a name", "RFC 9110, 5.1", get("X A: b\r\n")),
  refused("an empty name", "RFC 9110, 5.1", get(": b\r\n")),
  refused("a line without a colon", "RFC 9112, 5", get("nonsense\r\n")),
  refused("a folded line", "RFC 9112, 5.2", get("X-A: b\r\n c\r\n")),
  refused("headers larger than 32 KiB", "RFC 6585, 5", get(`X-A: ${"a".repeat(40_000)}\r\n`), 431),
  refused(
    "many small headers, together too large",
    "RFC 6585, 5",
    get(Array.from({ length: 4_000 }, (_, n) => `X-${String(n)}: 0123456789\r\n`).join("")),
    431,
  ),
  refused("a target longer than all headers may be", "RFC 9110, 15.5.15", get("", `/${"a".repeat(40_000)}`), 431),
  served("a value in Latin-1 passes as it is", "RFC 9110, 5.5", get("X-A: caf\u00e9\r\n"), undefined, { shows: /X-A: caf\u00e9/i }),
  served("an empty line before the request", "RFC 9112, 2.2", `\r\n${get()}`),
  served("an empty value", "RFC 9110, 5.5", get("X-A:\r\n"), undefined, { shows: /x-a: ?\r\n/i }),
];

const requestLines: readonly WireCase[] = [
  refused("HTTP/0.9", "RFC 9112, appendix C.1", "GET /a\r\n\r\n"),
  refused("no whole HTTP/2 preface", "RFC 9113, 3.4", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
  refused("an unknown version", "RFC 9112, 2.3", `GET /a HTTP/1.9\r\n${host}\r\n`),
  refused("a version beyond one digit", "RFC 9112, 2.3", `GET /a HTTP/1.10\r\n${host}\r\n`),
  refused("an unknown method", "RFC 9110, 9.1", `GETT /a HTTP/1.1\r\n${host}\r\n`),
  refused("a method in lower case", "RFC 9110, 9.1", `get /a HTTP/1.1\r\n${host}\r\n`),
  refused("two spaces before the version, and something between", "RFC 9112, 3", `GET /a b HTTP/1.1\r\n${host}\r\n`),
  refused("TLS bytes on the plain port", "RFC 9112, 2.2", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003\r\n\r\n"),
  refused("CONNECT", "RFC 9110, 9.3.6", "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n", 405),
  refused("TRACE with a body", "RFC 9110, 9.3.8", `TRACE /a HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc`, 405),
  turnedAway("TRACE: what came in is shown to nobody", "RFC 9110, 9.3.8", `TRACE /a HTTP/1.1\r\n${host}Cookie: secret\r\n\r\n`, 405),
  turnedAway("OPTIONS * asks the router itself", "RFC 9110, 9.3.7", `OPTIONS * HTTP/1.1\r\n${host}\r\n`, 405),
  served(
    "absolute form: the target's host wins",
    "RFC 9112, 3.2.2",
    "GET http://HOST/b HTTP/1.1\r\nHost: other.test\r\n\r\n",
    ['GET /b ""'],
    { shows: /host: HOST\r\n/i, hides: /other\.test/ },
  ),
  served(
    "absolute form with userinfo: it is dropped",
    "RFC 9110, 4.2.4",
    "GET http://user:pass@HOST/b HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ['GET /b ""'],
    { hides: /pass/ },
  ),
  turnedAway("absolute form of another host", "RFC 9112, 3.2.2", "GET http://other.test/b HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
  turnedAway("absolute form of another scheme", "RFC 9112, 3.2.2", "GET ftp://HOST/b HTTP/1.1\r\nHost: HOST\r\n\r\n"),
  served("dot segments are taken out before matching and forwarding", "RFC 3986, 5.2.4", get("", "/x/../a"), ['GET /a ""']),
  served("encoded dot segments as well", "RFC 3986, 6.2.2.2", get("", "/x/%2e%2E/a"), ['GET /a ""']),
  served("dots that climb above the root stay at the root", "RFC 3986, 5.2.4", get("", "/../../a"), ['GET /a ""']),
  served("dots in a query are not a path", "RFC 3986, 3.4", get("", "/a?x=/../b"), ['GET /a?x=/../b ""']),
  served("names that begin with a dot stay", "RFC 8615, 3", get("", "/.well-known/a/..b/c."), ['GET /.well-known/a/..b/c. ""']),
  served("an encoded slash stays encoded", "RFC 3986, 2.2", get("", "/a%2Fb"), ['GET /a%2Fb ""']),
  served("an empty segment stays", "RFC 3986, 3.3", get("", "//a//b"), ['GET //a//b ""']),
];

const hosts: readonly WireCase[] = [
  refused("no Host", "RFC 9112, 3.2", "GET /a HTTP/1.1\r\n\r\n"),
  turnedAway("two Hosts", "RFC 9112, 3.2", `GET /a HTTP/1.1\r\n${host}Host: other.test\r\n\r\n`),
  turnedAway("the same Host twice", "RFC 9112, 3.2", `GET /a HTTP/1.1\r\n${host}${host}\r\n`),
  turnedAway("a Host with a path", "RFC 9112, 3.2", "GET /a HTTP/1.1\r\nHost: HOST/x\r\n\r\n"),
  turnedAway("a Host with userinfo", "RFC 9112, 3.2", "GET /a HTTP/1.1\r\nHost: user@HOST\r\n\r\n"),
  turnedAway("a Host with a space", "RFC 9112, 3.2", "GET /a HTTP/1.1\r\nHost: HOST other.test\r\n\r\n"),
  turnedAway("a list of Hosts", "RFC 9112, 3.2", "GET /a HTTP/1.1\r\nHost: HOST, other.test\r\n\r\n"),
  turnedAway("a Host whose port is no number", "RFC 9110, 7.2", "GET /a HTTP/1.1\r\nHost: HOST:80x\r\n\r\n"),
  turnedAway("a Host with a percent sign", "RFC 9112, 3.2", "GET /a HTTP/1.1\r\nHost: HOST%2e\r\n\r\n"),
  turnedAway("a Host with markup", "RFC 9112, 3.2", 'GET /a HTTP/1.1\r\nHost: <script>"\r\n\r\n'),
  turnedAway("a Host that nobody has", "RFC 9110, 15.5.5", "GET /a HTTP/1.1\r\nHost: nobody.test\r\n\r\n", 404),
  turnedAway("an IPv6 Host", "RFC 9110, 7.2", "GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 404),
  served("a Host with a port", "RFC 9110, 7.2", "GET /a HTTP/1.1\r\nHost: HOST:8080\r\n\r\n"),
  served("a Host with a dot at its end", "RFC 1034, 3.1", "GET /a HTTP/1.1\r\nHost: HOST.\r\n\r\n"),
  served("a Host in capitals", "RFC 9110, 4.2.3", "GET /a HTTP/1.1\r\nhOsT: @UPPER@\r\n\r\n"),
  served("HTTP/1.0 with a Host", "RFC 9112, 9.3", `GET /a HTTP/1.0\r\n${host}\r\n`, undefined, { closes: true }),
  { name: "HTTP/1.0 without a Host", rule: "RFC 9112, 3.2", send: "GET /a HTTP/1.0\r\n\r\n", statuses: [404], reaches: [], closes: true },
];

const hops: readonly WireCase[] = [
  served("Connection names a field: it stays here", "RFC 9110, 7.6.1", get("Connection: X-Secret\r\nX-Secret: 1\r\n"), undefined, {
    hides: /x-secret/i,
  }),
  served(
    "Connection cannot take away what the router adds",
    "RFC 9110, 7.6.1",
    get("Connection: X-Forwarded-For, X-Request-Id, X-Forwarded-Proto, Host\r\n"),
    undefined,
    { shows: /x-forwarded-for: 127\.0\.0\.1[^]*x-request-id: /i },
  ),
  served("Connection cannot take away the length", "RFC 9110, 7.6.1", post("Connection: Content-Length\r\nContent-Length: 3\r\n", "abc"), [
    'POST /a "abc"',
  ]),
  served(
    "forwarding fields of a stranger are replaced",
    "RFC 7239, 8.1",
    get("X-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nForwarded: for=10.9.9.9\r\n"),
    undefined,
    { hides: /10\.9\.9\.9|evil\.test|https/ },
  ),
  served("x-berth-* from outside stays outside", "promise 8", get("X-Berth-Release: sha256:x\r\nx-berth-anything: 1\r\n"), undefined, {
    hides: /x-berth/i,
  }),
  served(
    "Proxy and Keep-Alive fields stay here",
    "RFC 9110, 7.6.1",
    get("Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=100\r\nProxy-Authorization: Basic eDp5\r\n"),
    undefined,
    { hides: /proxy-|timeout=100/i },
  ),
  served(
    "an offer of h2c is not taken",
    "RFC 9113, 3.1",
    get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
    undefined,
    { hides: /h2c|http2-settings/i },
  ),
  served(
    "an upgrade with a body is an ordinary request",
    "RFC 9110, 7.8",
    post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n", "abc"),
    ['POST /a "abc"'],
    { hides: /websocket/i },
  ),
  served("TE: only trailers pass", "RFC 9110, 10.1.4", get("TE: gzip, trailers;q=0.5\r\nConnection: TE\r\n"), undefined, {
    hides: /gzip/,
    shows: /te: trailers/i,
  }),
  served("Expect: 100-continue", "RFC 9110, 10.1.1", post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"), ['POST /a "abc"']),
  turnedAway("an unknown expectation", "RFC 9110, 10.1.1", post("Expect: miracles\r\nContent-Length: 3\r\n", "abc"), 417),
  served("Connection: close", "RFC 9112, 9.6", get("Connection: close\r\n"), undefined, { closes: true, answers: /connection: close/i }),
  served("HTTP/1.0 keep-alive", "RFC 9112, 9.3", `GET /a HTTP/1.0\r\n${host}Connection: keep-alive\r\n\r\n`, undefined, {
    answers: /connection: keep-alive/i,
  }),
];

const connections: readonly WireCase[] = [
  served(
    "three pipelined requests are answered in order",
    "RFC 9112, 9.3.2",
    `${get("", "/1")}${post("Content-Length: 3\r\n", "abc", "/2")}${get("", "/3")}`,
    ['GET /1 ""', 'POST /2 "abc"', 'GET /3 ""'],
  ),
  {
    name: "an error in the middle of a pipeline ends it there",
    rule: "RFC 9112, 9.3.2 and 11.2",
    send: `${get("", "/1")}${post("Content-Length: x\r\n", "abc", "/2")}${get("", "/3")}`,
    statuses: [200, 400],
    reaches: ['GET /1 ""'],
    closes: true,
  },
  {
    name: "a refused host in the middle of a pipeline does not end it",
    rule: "RFC 9112, 9.3.2",
    send: `${get("", "/1")}GET /2 HTTP/1.1\r\nHost: nobody.test\r\n\r\n${get("", "/3")}`,
    statuses: [200, 404, 200],
    reaches: ['GET /1 ""', 'GET /3 ""'],
  },
  {
    name: "rubbish after a whole request is not part of it",
    rule: "RFC 9112, 2.2",
    send: `${get()}\u0000\u0001rubbish\r\n\r\n`,
    statuses: [200, 400],
    reaches: ['GET /a ""'],
    closes: true,
  },
  served("a client that ends its side after the request gets its answer", "RFC 9112, 9.6", get(), undefined, {
    halfClose: true,
    closes: true,
  }),
  served(
    "a client that ends its side after a request with a body",
    "RFC 9112, 9.6",
    post("Content-Length: 3\r\n", "abc"),
    ['POST /a "abc"'],
    { halfClose: true, closes: true },
  ),
  {
    name: "a client that ends its side in the middle of a body",
    rule: "RFC 9112, 8",
    send: post("Content-Length: 10\r\n", "abc"),
    statuses: [],
    reaches: [],
    halfClose: true,
    closes: true,
  },
  {
    name: "a client that ends its side in the middle of a chunk",
    rule: "RFC 9112, 8",
    send: post("Transfer-Encoding: chunked\r\n", "a\r\nabc"),
    statuses: [],
    reaches: [],
    halfClose: true,
    closes: true,
  },
  {
    name: "a client that ends its side in the middle of the head",
    rule: "RFC 9112, 8",
    send: "GET /a HTTP/1.1\r\nHost: HO",
    statuses: [],
    reaches: [],
    halfClose: true,
    closes: true,
  },
];

const asks = (target: string, headers = host): string =>
  `GET ${target} HTTP/1.1\r\n${headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
/** What holds for a request holds for one that wants to upgrade: the same door, the same rules. The endpoint declines, after which the connection ends. */
const upgrades: readonly WireCase[] = [
  served("an upgrade is passed on", "RFC 9110, 7.8", asks("/a"), undefined, { closes: true, shows: /upgrade: websocket/i }),
  served("dot segments of an upgrade are taken out", "RFC 3986, 5.2.4", asks("/x/%2e./a"), undefined, { closes: true, hides: /\/x|%2e/i }),
  served(
    "an upgrade in absolute form: the target's host wins",
    "RFC 9112, 3.2.2",
    asks("http://HOST/b", "Host: other.test\r\n"),
    ['GET /b ""'],
    { closes: true, shows: /host: HOST\r\n/i, hides: /other\.test/ },
  ),
  served("an upgrade cannot bring what Berth says to endpoints", "promise 8", asks("/a", `${host}x-berth-anything: 1\r\n`), undefined, {
    closes: true,
    hides: /x-berth/i,
  }),
  refused("an upgrade with two Hosts", "RFC 9112, 3.2", asks("/a", `${host}Host: other.test\r\n`)),
  refused("an upgrade whose Host has userinfo", "RFC 9112, 3.2", asks("/a", "Host: user@HOST\r\n")),
  refused("an upgrade without a Host", "RFC 9112, 3.2", asks("/a", "")),
  refused("an upgrade of another scheme", "RFC 9112, 3.2.2", asks("ftp://HOST/a")),
  refused("an upgrade to a host that nobody has", "RFC 9110, 15.5.5", asks("/a", "Host: nobody.test\r\n"), 404),
  refused("TRACE with an upgrade", "RFC 9110, 9.3.8", asks("/a").replace("GET", "TRACE"), 405),
  {
    name: "an upgrade behind a request that could not be read",
    rule: "RFC 9112, 11.2",
    send: `${post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")}${asks("/smuggled")}`,
    statuses: [501],
    reaches: [],
    closes: true,
  },
];

export const wireCases: Readonly<Record<string, readonly WireCase[]>> = {
  lengths,
  codings,
  chunks,
  heads,
  requestLines,
  hosts,
  hops,
  connections,
  upgrades,
};
