// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/curves.h"

#include <algorithm>
#include <functional>

#include "bench/sip/corpus.h"
#include "bench/sip/measure.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::bench {
namespace {

std::string Invite(const std::string& headers, const std::string& body) {
  return "INVITE sip:bob@192.0.2.10:5060 SIP/2.0\r\n"
         "Via: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bK-curve\r\n"
         "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n"
         "Call-ID: curve@198.51.100.10\r\nCSeq: 1 INVITE\r\n"
         "Contact: <sip:alice@198.51.100.10:5060>\r\n" +
         headers +
         "Content-Type: application/sdp\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

std::string Repeat(std::size_t count, const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

CurvePoint Measure(std::size_t count, const std::string& text) {
  sip::CapturedMessageView message;
  message.bytes = text;
  message.source = *sip::Endpoint::Parse("198.51.100.10:5060");
  message.destination = *sip::Endpoint::Parse("192.0.2.10:5060");
  message.transport = sip::Transport::kUdp;
  message.time = sip::CaptureTime(std::chrono::seconds(1'700'000'000));
  message.sequence = 1;
  sip::RebuildOptions options;
  options.max_message_bytes = 256 * 1024;
  sip::DialogFolder folder(CorpusServer(), options);
  CurvePoint point;
  point.count = count;
  point.bytes = text.size();
  double best = 1e9;
  for (int round = 0; round < 30; ++round) {
    const double start = CpuSeconds();
    const sip::FoldOutcome outcome = folder.Fold(message);
    best = std::min(best, CpuSeconds() - start);
    point.taken = outcome.result == sip::FoldResult::kFolded;
    folder.Forget("curve@198.51.100.10");
  }
  point.ns = best * 1e9;
  return point;
}

Curve Draw(std::string name, std::vector<std::size_t> counts,
           const std::function<std::string(std::size_t)>& make) {
  Curve curve{std::move(name), {}};
  for (std::size_t count : counts) curve.points.push_back(Measure(count, make(count)));
  return curve;
}

}  // namespace

std::vector<Curve> MeasureCurves() {
  const std::string sdp =
      "v=0\r\no=- 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN IP4 198.51.100.10\r\n"
      "t=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
  return {
      Draw("header lines", {10, 100, 1000, 5000, 10000},
           [&](std::size_t n) { return Invite(Repeat(n, "X-Number: 1234\r\n"), sdp); }),
      Draw("Record-Routes", {1, 10, 35, 70},
           [&](std::size_t n) {
             return Invite(Repeat(n, "Record-Route: <sip:192.0.2.77;lr;ftag=a1>\r\n"), sdp);
           }),
      Draw("bytes of body", {1024, 4096, 16384, 65536},
           [&](std::size_t n) {
             return Invite("", sdp + Repeat((n - sdp.size()) / 16, "a=x-note:123456\n"));
           }),
      Draw("bytes of folded From", {960, 3840, 15360, 61440},
           [&](std::size_t n) {
             std::string text = Invite("", sdp);
             const std::string name = "\"" + Repeat(n / 16, "word word word\r\n ") + "\" ";
             return text.insert(text.find("<sip:alice@example"), name);
           }),
      Draw("bytes of folded Subject", {960, 3840, 15360, 61440},
           [&](std::size_t n) {
             return Invite("Subject: a" + Repeat(n / 16, "\r\n word word word") + "\r\n", sdp);
           }),
  };
}

}  // namespace sipheal::bench
