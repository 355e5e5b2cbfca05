/** A program that prints its port and echoes what it hears over TCP. */
export const ECHO = `
  const server = require('node:net').createServer((socket) => socket.on('error', () => {}).pipe(socket));
  server.listen(0, '0.0.0.0', () => console.log(server.address().port));
  process.stdin.resume();`;

/**
 * One that sends each line that it reads over one connection to `ADDRESS PORT`, and prints what comes back within five
 * seconds.
 */
export const CALLER = `
  const socket = require('node:net').connect(process.argv[2], process.argv[1], () => console.log('connected'));
  socket.on('error', () => {});
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const waiting = setTimeout(() => console.log('no answer'), 5000);
    socket.removeAllListeners('data').once('data', (text) => {
      clearTimeout(waiting);
      console.log(String(text).trim());
    });
    socket.write(line + '\\n');
  });`;

/** A program that prints its port, and for each connection over TCP how many bytes it brought. */
export const SINK = `
  const server = require('node:net').createServer((socket) => {
    let bytes = 0;
    socket.on('data', (chunk) => (bytes += chunk.length));
    socket.on('error', (error) => console.log(error.code));
    socket.on('end', () => (socket.end(), console.log(bytes)));
  });
  server.listen(0, '0.0.0.0', () => console.log(server.address().port));
  process.stdin.resume();`;

/** One that opens a connection to `ADDRESS PORT`, and for each line that it reads sends so many bytes; the last line ends it. */
export const SOURCE = `
  const socket = require('node:net').connect(process.argv[2], process.argv[1], () => console.log('connected'));
  socket.on('error', (error) => console.log(error.code));
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    if (line === 'end') socket.end(() => console.log('ended'));
    else socket.write(Buffer.alloc(Number(line), 7), () => console.log('written'));
  });`;
