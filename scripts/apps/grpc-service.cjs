// A service without a .proto file: messages are JSON.
const serialize = (value) => Buffer.from(JSON.stringify(value))
const deserialize = (bytes) => JSON.parse(bytes.toString())
const codec = {
  requestSerialize: serialize,
  requestDeserialize: deserialize,
  responseSerialize: serialize,
  responseDeserialize: deserialize,
}

module.exports = {
  Say: { path: '/Echo/Say', requestStream: false, responseStream: false, ...codec },
  Tell: { path: '/Echo/Tell', requestStream: false, responseStream: true, ...codec },
}
