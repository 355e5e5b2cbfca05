/** What somebody in a sandbox does without an end, by its name, and what that one must know. */
export type Tasks = {
  /** Sends numbered datagrams to a peer that does the same, at a steady pace. */
  readonly datagrams: {
    readonly to: string;
    readonly port: number;
    /** bytes of UDP payload */
    readonly size: number;
    readonly perSecond: number;
  };
  /** Talks over one TCP connection with a peer, both at a time; waits for it where `to` is absent. */
  readonly conversation: { readonly to?: string; readonly port: number };
  /** Writes values into a Valkey and reads them back, over one connection. */
  readonly values: {
    /** An address, or a name that is asked of `resolver`. */
    readonly store: string;
    readonly resolver: string;
    readonly port: number;
    /** of its keys, which nobody else has */
    readonly prefix: string;
    /** bytes of a value */
    readonly size: number;
  };
};

export type Reports = {
  readonly datagrams: {
    readonly sent: number;
    /** Different ones of the peer's. */
    readonly heard: number;
    /** What the kernel refused to send, by the name of its errno. */
    readonly refused: readonly string[];
  };
  readonly conversation: {
    readonly sentBytes: number;
    readonly heardBytes: number;
    /** Pieces that are not what the peer sent. */
    readonly wrong: number;
    readonly errors: readonly string[];
  };
  readonly values: {
    /** Values that were written and read. */
    readonly rounds: number;
    readonly wrong: number;
    readonly errors: readonly string[];
  };
};

export type Kind = keyof Tasks;

/** `rest` is answered when it sends no more, `report` whenever. */
export type LoadOrder = 'go' | 'rest' | 'report';

/** A task that is carried out. */
export interface Work<Of extends Kind> {
  /** Goes on, where it does not already. */
  go(): void;
  rest(): Promise<void>;
  report(): Reports[Of];
}
