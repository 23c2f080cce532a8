// A real gRPC service and client (grpc-js) without a schema: messages are bytes. It echoes, counts, adds up, and does what its metadata says.
import {
  credentials,
  makeGenericClientConstructor,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type ServiceError,
} from "@grpc/grpc-js";

const bytes = (value: Buffer): Buffer => value;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
const service = {
  once: method("Once", false, false),
  count: method("Count", false, true),
  sum: method("Sum", true, false),
  chat: method("Chat", true, true),
};
const large = { "grpc.max_receive_message_length": 64 * 1024 * 1024, "grpc.max_send_message_length": 64 * 1024 * 1024 };

export interface GrpcInstance extends AsyncDisposable {
  readonly port: number;
  /** Calls that ended because the client took them back. */
  readonly cancelled: string[];
  /** Calls that are being served. */
  open: number;
  /** Takes no further calls, and asks clients to connect anew. */
  leave(): Promise<void>;
}

/** `name`: what `once` answers in its metadata, so that a caller knows which instance answered. */
export async function grpcInstance(name = "", port = 0): Promise<GrpcInstance> {
  const server = new Server(large);
  const made: GrpcInstance = {
    port: 0,
    cancelled: [],
    open: 0,
    leave: () =>
      new Promise((resolve) => {
        server.tryShutdown(() => {
          resolve();
        });
      }),
    [Symbol.asyncDispose]: () => {
      server.forceShutdown();
      return Promise.resolve();
    },
  };
  const follow = (call: { on(event: "cancelled", listener: () => void): unknown }, what: string): (() => void) => {
    made.open += 1;
    let over = false;
    // It tells so of every call that closes.
    call.on("cancelled", () => {
      if (over) return;
      made.cancelled.push(what);
      made.open -= 1;
    });
    return () => {
      over = true;
      made.open -= 1;
    };
  };
  server.addService(service, {
    once: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      const end = follow(call, "once");
      const head = new Metadata();
      head.set("instance", name);
      if (call.metadata.get("silent").length === 0) call.sendMetadata(head);
      const [wait] = call.metadata.get("wait");
      const [fail] = call.metadata.get("fail");
      const trailer = new Metadata();
      trailer.set("trailing", "yes");
      setTimeout(
        () => {
          if (call.cancelled) return;
          end();
          if (fail === undefined) done(null, call.request, trailer);
          else done({ code: status.FAILED_PRECONDITION, details: "as you \u00fcbersaw", metadata: trailer });
        },
        Number(wait ?? 0),
      );
    },
    count: (call: ServerWritableStream<Buffer, Buffer>) => {
      const end = follow(call, "count");
      const most = Number(call.request.toString());
      let n = 0;
      const more = (): void => {
        while (n < most && !call.cancelled) {
          n += 1;
          if (!call.write(Buffer.alloc(16 * 1024, n % 256))) return void call.once("drain", more);
        }
        if (call.cancelled) return;
        end();
        call.end();
      };
      more();
    },
    sum: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      const end = follow(call, "sum");
      let total = 0;
      call.on("data", (message: Buffer) => (total += message.length));
      call.on("end", () => {
        end();
        done(null, Buffer.from(String(total)));
      });
    },
    chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
      const end = follow(call, "chat");
      call.on("data", (message: Buffer) => call.write(message));
      call.on("end", () => {
        end();
        call.end();
      });
    },
  });
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${String(port)}`, ServerCredentials.createInsecure(), (error, on) => {
      if (error === null) resolve(on);
      else reject(error);
    });
  });
  return Object.assign(made, { port: bound });
}

interface Methods {
  once(message: Buffer, metadata: Metadata, options: object, done: (error: ServiceError | null, answer?: Buffer) => void): ClientUnaryCall;
  count(message: Buffer, metadata: Metadata, options?: object): ClientReadableStream<Buffer>;
  sum(metadata: Metadata, options: object, done: (error: ServiceError | null, answer?: Buffer) => void): ClientWritableStream<Buffer>;
  chat(metadata: Metadata, options?: object): ClientDuplexStream<Buffer, Buffer>;
}
export type GrpcClient = Client & Methods;

/** `authority`: the host that is asked for, whatever the address. `ca`: PEM; without one the connection is plain. */
export function grpcClient(port: number, authority: string, ca?: string): GrpcClient {
  const Made = makeGenericClientConstructor(service, "Echo");
  const secured: ChannelCredentials = ca === undefined ? credentials.createInsecure() : credentials.createSsl(Buffer.from(ca));
  return new Made(`127.0.0.1:${String(port)}`, secured, {
    ...large,
    "grpc.default_authority": authority,
    "grpc.ssl_target_name_override": authority,
    // A call that fails shall be seen to fail, and each client has a connection of its own.
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
  }) as unknown as GrpcClient;
}

export interface Unary {
  readonly answer: Buffer;
  readonly head: Metadata;
  readonly trailer: Metadata | undefined;
}

/** Rejects with the ServiceError. */
export function callOnce(
  client: GrpcClient,
  message: Buffer,
  metadata: Readonly<Record<string, string>> = {},
  options: object = {},
): Promise<Unary> {
  return new Promise((resolve, reject) => {
    const given = new Metadata();
    for (const [name, value] of Object.entries(metadata)) given.set(name, value);
    let head = new Metadata();
    let trailer: Metadata | undefined;
    let answer: Buffer | undefined;
    const call = client.once(message, given, options, (error, made) => {
      if (error !== null) reject(error);
      else answer = made;
    });
    call.on("metadata", (value: Metadata) => (head = value));
    call.on("status", (value) => {
      trailer = value.metadata;
      setImmediate(() => {
        if (answer !== undefined) resolve({ answer, head, trailer });
      });
    });
  });
}
