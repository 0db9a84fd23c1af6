// SPDX-License-Identifier: Apache-2.0
// What one round of questions found: rows become messages, by Call-ID.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "homer/row.h"
#include "sipheal/adapters/homer.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::inline v0_1::internal::homer {

// Maps that are searched by a view.
struct ViewHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

// Keeps the SIP messages of the Call-IDs that are wanted, from the agents that are listened to.
// What a row was filed under decides nothing: HOMER mixes other legs into its answers, and files a
// TCP buffer of several messages under the first.
class Gatherer {
 public:
  struct Found {
    std::vector<sip::CapturedMessage> messages;  // numbered by Sort()
    std::vector<std::int64_t> row_ids;           // of each
    // Equal for equal sets of messages, in whatever order they came. By Sort().
    std::uint64_t fingerprint = 0;
  };

  // `agents`: whose messages are taken; everybody's when empty.
  Gatherer(std::vector<std::string> agents, std::size_t max_rows, std::size_t max_bytes);

  void Want(const std::string& call_id) { found_.try_emplace(call_id); }
  // ResourceExhausted at a limit.
  absl::Status Add(const Row& row);
  // Bytes that were read for this, kept or not.
  absl::Status CountBytes(std::size_t bytes);
  // The messages of each Call-ID in the order of their times, each once: a row comes again in the
  // answer for another Call-ID that HOMER correlates, or that was asked beside.
  void Sort();

  const std::unordered_map<std::string, Found, ViewHash, std::equal_to<>>& found() const {
    return found_;
  }
  Found Take(const std::string& call_id);

 private:
  void AddMessage(const Row& row, std::string_view bytes, sip::Transport transport);

  const std::vector<std::string> agents_;
  const std::size_t max_rows_;
  const std::size_t max_bytes_;
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;
  sip::MessageView view_;
  std::unordered_map<std::string, Found, ViewHash, std::equal_to<>> found_;
};

}  // namespace sipheal::inline v0_1::internal::homer
