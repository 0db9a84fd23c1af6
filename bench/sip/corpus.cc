// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/corpus.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "sipheal/sip/message_view.h"
#include "sipheal/sip/uri.h"

namespace sipheal::bench {
namespace {

constexpr const char* kServer = "192.0.2.10:5060";
constexpr const char* kProxy = "198.51.100.10:5060";

[[noreturn]] void Refuse(const char* path, const char* what) {
  std::fprintf(stderr, "bench: %s: %s: let bench/run.sh make the corpus\n", path, what);
  std::exit(2);
}

// Whether the server sent it: the top Via is the server's own of its requests and of their answers.
bool SentByServer(std::string_view bytes, const char* path) {
  sip::MessageView view;
  sip::ViaView via;
  if (!view.Parse(bytes).ok()) Refuse(path, "a message does not parse");
  std::string_view vias = view.Get(sip::HeaderId::kVia);
  if (NextVia(&vias, &via) != sip::ListStep::kValue) Refuse(path, "a message has no Via");
  return (via.host == sip::Endpoint::Parse(kServer)->ip.ToString()) == view.is_request();
}

}  // namespace

// "SIPC", the numbers of dialogs, messages and bytes, then for each message its offset, size,
// dialog and kind, then the bytes.
Corpus ReadCorpus(const char* path) {
  Corpus corpus;
  std::ifstream file(path, std::ios::binary);
  corpus.blob.assign(std::istreambuf_iterator<char>(file), {});
  std::uint32_t head[3];
  if (corpus.blob.size() < 4 + sizeof head || corpus.blob.compare(0, 4, "SIPC") != 0) {
    Refuse(path, "is no corpus");
  }
  std::memcpy(head, corpus.blob.data() + 4, sizeof head);
  const std::size_t count = head[1];
  corpus.dialogs = head[0];
  if (corpus.dialogs == 0 || count % corpus.dialogs != 0) Refuse(path, "dialogs differ in length");
  corpus.per_dialog = count / corpus.dialogs;
  const std::size_t index = 4 + sizeof head;
  const std::size_t begin = index + count * 16;
  const sip::Endpoint server = *sip::Endpoint::Parse(kServer);
  const sip::Endpoint proxy = *sip::Endpoint::Parse(kProxy);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t entry[4];
    if (index + (i + 1) * 16 > corpus.blob.size()) Refuse(path, "is cut short");
    std::memcpy(entry, corpus.blob.data() + index + i * 16, sizeof entry);
    if (begin + entry[0] + entry[1] >= corpus.blob.size()) Refuse(path, "is cut short");
    sip::CapturedMessageView message;
    message.bytes = std::string_view(corpus.blob).substr(begin + entry[0], entry[1]);
    const bool sent = SentByServer(message.bytes, path);
    message.source = sent ? server : proxy;
    message.destination = sent ? proxy : server;
    message.transport = sip::Transport::kUdp;
    message.time = sip::CaptureTime(std::chrono::seconds(1'700'000'000) +
                                    std::chrono::milliseconds(20) * (i % corpus.per_dialog));
    message.sequence = i + 1;
    corpus.bytes += message.bytes.size();
    corpus.messages.push_back(message);
  }
  return corpus;
}

sip::ServerIdentity CorpusServer() {
  sip::ServerIdentity server;
  const sip::Endpoint own = *sip::Endpoint::Parse(kServer);
  server.addresses.push_back({own.ip, own.port, sip::Transport::kUnknown});
  return server;
}

}  // namespace sipheal::bench
