// SPDX-License-Identifier: Apache-2.0
// FakeHomer: a HOMER in this process for tests of faults that a real one cannot be made to show.
// It keeps what it is given and answers as homer-app does, its oddities included: from and to cut
// to whole seconds, one table for each request, ties in any order, reports and logs of a call mixed
// in, a database that fails as "201, nothing there". It listens on 127.0.0.1 at a free port, one
// thread for each connection. Component testing_homer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sipheal/export.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::testing {

// Thread-safe. All changes have taken effect when the method returns.
class SIPHEAL_EXPORT FakeHomer {
 public:
  enum class Version {
    kHomerApp1_5_15,  // micro_ts in milliseconds; an unknown profile finds nothing
    kHomerApp1_5_20,  // micro_ts in microseconds; an unknown profile is 400
    kHomer11,         // /api/v4; /api/v3 has other bodies. From its source, not from a real one
  };
  struct Options {
    Version version = Version::kHomerApp1_5_20;
    std::string user = "admin";
    std::string password = "sipcapture";
    std::string token = "fake-token";  // for Auth-Token
    std::uint32_t seed = 1;            // of the order of what has the same time
  };
  // A captured packet. What is empty or 0 is taken from the message, as heplify-server does.
  struct Row {
    sip::CapturedMessage message;
    std::string profile;         // "1_call"; by the CSeq's method when empty
    std::string sid;             // the Call-ID
    std::string correlation_id;  // the Call-ID, as Asterisk sends it
    int payload_type = 1;        // 5: RTCP, 100: a log line; `sid` must be given then
    // Cannot be read before this many questions for messages were answered: it waits in a batch of
    // heplify-server.
    int after_questions = 0;
  };
  enum class Fault {
    kNone,
    kNoRows,       // 201 with total 0: the database failed
    kServerError,  // 500
    kNoReply,      // the connection is closed instead of an answer: homer-app panicked
    kCut,          // half of the answer, then the connection is closed
    kBadJson,      // the answer is no JSON
    kWrongForm,    // JSON, but of something else
  };
  struct Request {
    std::string method;
    std::string path;
    std::string body;
  };

  static absl::StatusOr<std::unique_ptr<FakeHomer>> Start(Options options);
  ~FakeHomer();
  FakeHomer(const FakeHomer&) = delete;
  FakeHomer& operator=(const FakeHomer&) = delete;

  std::string url() const;  // "http://127.0.0.1:<port>"
  int port() const;

  void Add(Row row);
  void Add(sip::CapturedMessage message) { Add(Row{.message = std::move(message)}); }
  void Clear();

  // Of the next `times` questions for messages; of all when negative.
  void Fail(Fault fault, int times = -1);
  // Before each answer.
  void Delay(std::chrono::milliseconds delay);
  // Every question for messages is answered with this instead, as 201.
  void AnswerWith(std::string body);
  // What was logged in is forgotten: homer-app was restarted with another jwt_secret.
  void ForgetLogins();
  // The port is closed to new connections, and open ones are reset.
  void RefuseConnections(bool refuse);
  // Like SIGSTOP: connections are accepted, nothing is answered until it is lifted.
  void Freeze(bool freeze);

  int logins() const;     // that were granted
  int questions() const;  // for messages that were answered
  int connections() const;
  std::vector<Request> requests() const;

 private:
  class Server;
  explicit FakeHomer(std::unique_ptr<Server> server);
  std::unique_ptr<Server> server_;
};

}  // namespace sipheal::inline v0_1::testing
