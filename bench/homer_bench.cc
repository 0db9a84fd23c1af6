// SPDX-License-Identifier: Apache-2.0
// What the HOMER client costs, against a fake HOMER in this process:
//
//   homer_bench [megabytes [rounds]]   prints one line of JSON
//
// - 1,000 dialogs in one pass, and the same questions one for each Call-ID in sequence, each with
//   the time that a HOMER on another machine takes to begin its answer (`latency_ms`) and without.
//   Of one pass the same questions by curl alone, too.
// - One answer of `megabytes`, as homer-app writes it: read by the client, and by curl alone, which
//   throws it away. The best of the rounds counts, curl's and the client's in turn, by the
//   wall clock and as processor time of the calling thread: the server needs the other core. Memory
//   is the growth of the process's peak over what it had before, the kept messages (counted) taken
//   off; the fake's copy was there before.
#include <curl/curl.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "sipheal/adapters/homer.h"
#include "sipheal/testing/fake_homer.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using testing::FakeHomer;

double Seconds() {
  return std::chrono::duration<double>(SystemClock().Monotonic().time_since_epoch()).count();
}

// Of this thread alone: what else runs on the machine does not count, and waiting does not.
double CpuSeconds() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Took {
  double wall = 1e9;
  double cpu = 1e9;
};

// The best of what it was and one more run.
template <typename Work>
void Time(Took& best, const Work& work) {
  const double wall = Seconds(), cpu = CpuSeconds();
  work();
  best.wall = std::min(best.wall, Seconds() - wall);
  best.cpu = std::min(best.cpu, CpuSeconds() - cpu);
}

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "homer_bench: %s\n", why.c_str());
  std::exit(1);
}

std::string CallId(int i) { return absl::StrFormat("%08x-a6c85cf-1928301774@198.51.100.20", i); }

// Milliseconds before each answer: a real one searches its tables.
constexpr int kLatency = 20;

// One of ten messages of a call, 870 bytes or so.
std::string Sip(const std::string& call_id, int step) {
  const std::string sdp(step % 3 == 0 ? 260 : 0, 'a');
  return absl::StrFormat(
      "%s\r\nVia: SIP/2.0/UDP 203.0.113.7:5060;branch=z9hG4bK%d;rport=5060;received=203.0.113.7\r\n"
      "Record-Route: <sip:192.0.2.99;lr;ftag=a6c85cf>\r\nRecord-Route: <sip:192.0.2.98;lr>\r\n"
      "From: \"Phone \\\"7\\\"\" <sip:1001@example.invalid;user=phone>;tag=a6c85cf\r\n"
      "To: <sip:100@example.invalid>;tag=as58f4201b\r\nCall-ID: %s\r\nCSeq: %d INFO\r\n"
      "Contact: <sip:1001@203.0.113.7:5060;transport=udp;ob>;+sip.instance=\"<urn:uuid:1>\"\r\n"
      "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, OPTIONS, REFER, NOTIFY, INFO\r\n"
      "User-Agent: A phone of some make 4.7.0.1\r\nSession-Expires: 1800;refresher=uac\r\n"
      "Max-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
      "INFO sip:100@192.0.2.1:5060 SIP/2.0", step, call_id, step + 1, sdp.size(), sdp);
}

sip::CapturedMessage Message(int call, int step) {
  sip::CapturedMessage message;
  message.bytes = Sip(CallId(call), step);
  message.source = *sip::Endpoint::Parse("203.0.113.7:5060");
  message.destination = *sip::Endpoint::Parse("192.0.2.1:5060");
  message.transport = sip::Transport::kUdp;
  message.time = SystemClock().Now() - std::chrono::seconds(60) + milliseconds(step);
  message.agent = "2001";
  return message;
}

HomerOptions Options(const FakeHomer& homer) {
  HomerOptions options;
  options.url = homer.url();
  options.token = "fake-token";
  options.read.ingest_delay = milliseconds(0);
  options.read.max_bytes = std::size_t{4} << 30;
  return options;
}

std::vector<DialogCapture> Fetch(SipCapture& capture, std::vector<std::string> call_ids) {
  auto got = capture.Fetch(
      CallContext::WithTimeout(std::chrono::minutes(5)),
      {.call_ids = std::move(call_ids), .until = SystemClock().Now() - std::chrono::minutes(5)});
  if (!got.ok()) Die(got.status().ToString());
  return *std::move(got);
}

std::size_t BytesOf(const std::vector<DialogCapture>& captures) {
  std::size_t bytes = 0;
  for (const auto& capture : captures) {
    // The vectors have grown to twice what they hold, at most.
    bytes += capture.messages.capacity() * sizeof(sip::CapturedMessage);
    for (const auto& message : capture.messages)
      bytes += malloc_usable_size(const_cast<char*>(message.bytes.data()));
  }
  return bytes;
}

struct Passes {
  Took together;
  Took one_by_one;
  Took curl;  // the questions of one pass by curl alone
};

std::size_t Discard(char*, std::size_t size, std::size_t count, void* sum) {
  *static_cast<std::size_t*>(sum) += size * count;
  return size * count;
}

CURL* Prepare(const std::string& url, const std::string& body, std::size_t& got) {
  static curl_slist* const headers = curl_slist_append(
      curl_slist_append(nullptr, "Content-Type: application/json"), "Auth-Token: fake-token");
  CURL* const easy = curl_easy_init();
  curl_easy_setopt(easy, CURLOPT_URL, (url + "/api/v3/call/transaction").c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
  curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body.c_str());
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, Discard);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &got);
  return easy;
}

// The same questions, as many at a time, by curl alone; the handles keep their connections.
class CurlAlone {
 public:
  CurlAlone(const std::string& url, const std::vector<std::string>& bodies, long connections)
      : multi_(curl_multi_init()) {
    curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
    for (const std::string& body : bodies) easies_.push_back(Prepare(url, body, got_));
  }
  ~CurlAlone() {
    for (CURL* easy : easies_) curl_easy_cleanup(easy);
    curl_multi_cleanup(multi_);
  }

  void Run(std::size_t expected = 0) {
    got_ = 0;
    for (CURL* easy : easies_) curl_multi_add_handle(multi_, easy);
    for (int running = 1; running > 0;) {
      curl_multi_perform(multi_, &running);
      if (running > 0) curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
    }
    for (CURL* easy : easies_) curl_multi_remove_handle(multi_, easy);
    if (got_ == 0 || (expected != 0 && got_ != expected)) Die("curl did not get the answer");
  }

 private:
  CURLM* const multi_;
  std::vector<CURL*> easies_;
  std::size_t got_ = 0;
};

Passes ManyDialogs(milliseconds latency, int rounds) {
  constexpr int kCalls = 1000;
  const auto homer = *FakeHomer::Start({});
  std::vector<std::string> call_ids;
  for (int call = 0; call < kCalls; ++call) {
    call_ids.push_back(CallId(call));
    for (int step = 0; step < 10; ++step) homer->Add(Message(call, step));
  }
  homer->Delay(latency);
  const auto capture = *MakeHomerCapture(Options(*homer));
  const auto one_connection = [&] {
    HomerOptions options = Options(*homer);
    options.connections = 1;
    return *MakeHomerCapture(options);
  }();
  Passes best;
  Fetch(*capture, call_ids);
  std::vector<std::string> bodies;
  for (const auto& request : homer->requests()) bodies.push_back(request.body);
  CurlAlone curl(homer->url(), bodies, Options(*homer).connections);
  for (int round = 0; round < rounds; ++round) {
    std::vector<DialogCapture> all;
    Time(best.together, [&] { all = Fetch(*capture, call_ids); });
    for (const auto& one : all) {
      if (one.messages.size() != 10) Die("a dialog is not whole");
    }
    Time(best.curl, [&] { curl.Run(); });
    if (round > 0 && latency > milliseconds(0)) continue;  // it takes its time
    Time(best.one_by_one, [&] {
      for (const std::string& id : call_ids) {
        if (Fetch(*one_connection, {id})[0].messages.size() != 10) Die("a dialog is not whole");
      }
    });
  }
  return best;
}

// As homer-app writes it: each message twice, the second time without its text, before the others.
std::string LargeAnswer(std::size_t bytes, int& calls) {
  std::string messages, calldata;
  for (int i = 0; messages.size() + calldata.size() < bytes; ++i) {
    const int call = i / 10;
    calls = call + 1;
    const auto us = 1795392001000000 + i * 1000;
    const nlohmann::json row = {{"id", 5162 + i},
                                {"sid", CallId(call)},
                                {"profile", "1_call"},
                                {"node", "localnode"},
                                {"dbnode", "localnode"},
                                {"raw", Sip(CallId(call), i % 10)},
                                {"create_date", us / 1000},
                                {"create_ts", us / 1000},
                                {"micro_ts", us},
                                {"protocolFamily", 2},
                                {"protocol", 17},
                                {"srcIp", "203.0.113.7"},
                                {"srcPort", 5060},
                                {"dstIp", "192.0.2.1"},
                                {"dstPort", 5060},
                                {"timeSeconds", us / 1'000'000},
                                {"timeUseconds", us % 1'000'000},
                                {"payloadType", 1},
                                {"captureId", "2001"},
                                {"capturePass", "secret"},
                                {"correlation_id", CallId(call)},
                                {"callid", CallId(call)},
                                {"cseq", "102 INFO"},
                                {"method", "INFO"},
                                {"from_user", "1001"},
                                {"from_tag", "a6c85cf"},
                                {"to_user", "100"},
                                {"to_tag", "as58f4201b"},
                                {"ruri_user", "100"},
                                {"ruri_domain", "192.0.2.1"},
                                {"user_agent", "A phone of some make 4.7.0.1"},
                                {"from_domain", "example.invalid"},
                                {"to_domain", "example.invalid"}};
    nlohmann::json element = {{"id", 5162 + i},
                              {"sid", CallId(call)},
                              {"dstHost", "192.0.2.1"},
                              {"srcHost", "203.0.113.7"},
                              {"dstId", "192.0.2.1:5060"},
                              {"srcId", "203.0.113.7:5060"},
                              {"srcIp", "203.0.113.7"},
                              {"dstIp", "192.0.2.1"},
                              {"srcPort", 5060},
                              {"dstPort", 5060},
                              {"method", "INFO"},
                              {"method_text", "INFO"},
                              {"create_date", us / 1000},
                              {"protocol", 17},
                              {"ruri_user", "100"},
                              {"msg_color", "hsl(0,0%,0%)"}};
    messages += (messages.empty() ? "" : ",") + row.dump();
    calldata += (calldata.empty() ? "" : ",") + element.dump();
  }
  return R"({"data":{"alias":{},"calldata":[)" + calldata + R"(],"hosts":{},"messages":[)" +
         messages + R"(]},"keys":[],"total":1})";
}

long PeakKilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::atol(line.c_str() + 6);
  }
  return 0;
}

}  // namespace

int Run(std::size_t megabytes, int rounds) {
  const Passes near = ManyDialogs(milliseconds(0), rounds);
  const Passes far = ManyDialogs(milliseconds(kLatency), rounds);

  int calls = 0;
  std::string answer = LargeAnswer(megabytes * 1'000'000, calls);
  const std::size_t bytes = answer.size();
  const auto homer = *FakeHomer::Start({});
  homer->AnswerWith(std::move(answer));
  std::vector<std::string> call_ids;
  for (int i = 0; i < std::min(calls, 200); ++i) call_ids.push_back(CallId(i));
  HomerOptions options = Options(*homer);
  options.profiles = {"1_call"};
  const auto capture = *MakeHomerCapture(options);

  CurlAlone curl_alone(
      homer->url(),
      {R"({"timestamp":{"from":0,"to":1},"param":{"search":{"1_call":{"callid":["x"]}}}})"}, 1);
  Took curl, client;
  long peak = 0;
  std::size_t kept = 0;
  for (int round = 0; round < rounds; ++round) {
    Time(curl, [&] { curl_alone.Run(bytes); });
    malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
    const long before = PeakKilobytes();
    std::vector<DialogCapture> got;
    Time(client, [&] { got = Fetch(*capture, call_ids); });
    peak = std::max(peak, PeakKilobytes() - before);
    kept = BytesOf(got);
  }
  const double mb = static_cast<double>(bytes) / 1e6;
  const nlohmann::ordered_json out = {{"dialogs", 1000},
                                      {"together_s", near.together.wall},
                                      {"one_by_one_s", near.one_by_one.wall},
                                      {"ratio", near.one_by_one.wall / near.together.wall},
                                      {"together_cpu_s", near.together.cpu},
                                      {"curl_alone_cpu_s", near.curl.cpu},
                                      {"latency_ms", kLatency},
                                      {"latency_together_s", far.together.wall},
                                      {"latency_curl_alone_s", far.curl.wall},
                                      {"latency_one_by_one_s", far.one_by_one.wall},
                                      {"latency_ratio", far.one_by_one.wall / far.together.wall},
                                      {"answer_mb", mb},
                                      {"answer_curl_s", curl.wall},
                                      {"answer_client_s", client.wall},
                                      {"answer_mb_s", mb / client.wall},
                                      {"answer_curl_cpu_s", curl.cpu},
                                      {"answer_client_cpu_s", client.cpu},
                                      {"answer_mb_cpu_s", mb / client.cpu},
                                      {"peak_growth_mib", static_cast<double>(peak) / 1024},
                                      {"kept_mib", static_cast<double>(kept) / 1048576}};
  std::puts(out.dump().c_str());
  return 0;
}

}  // namespace sipheal

int main(int argc, char** argv) {
  const int megabytes = argc > 1 ? std::atoi(argv[1]) : 100;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  return sipheal::Run(static_cast<std::size_t>(megabytes), rounds);
}
