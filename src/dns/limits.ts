/** bytes that a question may have, with all that clients add to it */
export const MAX_QUERY = 4096;
/** Records beside the question: one of EDNS, one that signs, and room. */
export const MAX_RECORDS = 4;

/** bytes of an answer over UDP where the query says nothing of it, RFC 1035, 4.2.1 */
export const PLAIN_DATAGRAM = 512;
/** bytes of an answer over UDP, whatever the query says, and of a query, as we say: what no path here fragments */
export const LARGEST_DATAGRAM = 1232;
/** bytes of an answer over TCP: its length stands before it in two */
export const LARGEST_MESSAGE = 65_535;

/**
 * Questions per second of one asker, after a first `burst`: a crawler's, each of which may come from a port of its own and
 * be a flow of connection tracking for half a minute. The router's rules hold datagrams to the same.
 */
export const ASKS = { rate: 200, burst: 1000 } as const;
/** Askers whose rate is known: more than a host has sandboxes. */
export const MAX_ASKERS = 32_768;

/** Answers that the kernel has not taken yet. */
export const MAX_UNSENT = 1000;

/** Connections of all askers, and of one. */
export const MAX_CONNECTIONS = 512;
export const MAX_CONNECTIONS_OF_ASKER = 4;
/** ms in which a connection has to bring a whole question, again and again; RFC 7766, 6.2.3: of the order of seconds */
export const CONNECTION_REST_MS = 10_000;
/** bytes of answers on a connection that are not taken from us */
export const MAX_UNREAD = 262_144;
