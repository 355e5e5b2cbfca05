/** RFC 862: whatever comes is sent back, here together with who answered and whom it saw asking. */
export const ECHO_PORT = 7;

/** A datagram as it was seen where it arrived. */
export type Datagram = { readonly from: string; readonly text: string };

/** What an echo says: who answers, and the address and port that the question seemed to come from. */
export type Echo = { readonly by: string; readonly saw: string; readonly text: string };

export type AskResult = {
  readonly sent: number;
  readonly echoes: readonly Echo[];
  /** What the kernel refused to send, by the name of its errno. */
  readonly refused: readonly string[];
};

export type StreamReport = {
  readonly sent: number;
  readonly answered: number;
  /** The first numbers that no echo came for. */
  readonly lost: readonly number[];
  /** ms between two echoes, at most */
  readonly longestSilenceMs: number;
  /** ms, of the middle one */
  readonly roundTripMs: number;
  /** Datagrams that the asking side's own socket had no room for, as the kernel counts them. */
  readonly overflows: number;
};

/** What an endpoint is told to do, a line each; the answer is a line too. */
export type Order =
  | {
      readonly do: 'ask';
      readonly to: string;
      readonly port: number;
      /** The source address; absent, the kernel chooses. */
      readonly from?: string;
      readonly text: string;
      readonly count: number;
      /** ms to wait for echoes once all is sent; it ends at once when all have come */
      readonly waitMs: number;
    }
  | { readonly do: 'listen'; readonly port: number }
  | { readonly do: 'received' }
  | { readonly do: 'stream'; readonly to: string; readonly port: number; readonly intervalMs: number }
  | { readonly do: 'stop' }
  | { readonly do: 'claim'; readonly address: string; readonly link: number; readonly mac: string };
