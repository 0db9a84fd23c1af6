// SPDX-License-Identifier: Apache-2.0
#include "sip/call_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>

#include "sip/call_store.h"

namespace sipheal::sip {
namespace {

// A block as the store makes them, without facts.
class Block {
 public:
  explicit Block(const std::string& call_id) : bytes_(sizeof(StoredCall) + call_id.size()) {
    call_ = new (bytes_.data()) StoredCall();
    call_->call_id_size = static_cast<std::uint32_t>(call_id.size());
    std::memcpy(bytes_.data() + sizeof(StoredCall), call_id.data(), call_id.size());
  }
  StoredCall* call() { return call_; }

 private:
  std::vector<char> bytes_;
  StoredCall* call_;
};

// Few hashes, so that calls stand far from where they belong, over the end of the table, too.
std::uint64_t HashOf(int number) { return static_cast<std::uint64_t>(number % 7) * 5 + ~0u - 9; }
std::string Name(int number) { return "call-" + std::to_string(number); }

TEST(CallTable, FindsWhatIsThereThroughInsertionsErasuresAndFilters) {
  std::mt19937 random(3);
  CallTable table;
  std::map<int, std::unique_ptr<Block>> there;
  for (int step = 0; step < 4000; ++step) {
    const int number = static_cast<int>(random() % 60);
    const auto known = there.find(number);
    if (known == there.end()) {
      const auto [at, added] = there.emplace(number, std::make_unique<Block>(Name(number)));
      table.Insert(HashOf(number), at->second->call());
    } else if (random() % 2 == 0) {
      auto fresh = std::make_unique<Block>(Name(number));
      table.Replace(HashOf(number), known->second->call(), fresh->call());
      known->second = std::move(fresh);
    } else {
      table.Erase(HashOf(number), known->second->call());
      there.erase(known);
    }
    if (step % 100 == 0) {
      std::set<std::string> seen;
      table.Filter([&](StoredCall*& call) {
        seen.emplace(call->call_id());
        return call->call_id().back() != '3';
      });
      std::set<std::string> before;
      for (auto at = there.begin(); at != there.end();) {
        before.insert(Name(at->first));
        at = at->first % 10 == 3 ? there.erase(at) : std::next(at);
      }
      ASSERT_EQ(seen, before) << "step " << step;
    }
    ASSERT_EQ(table.size(), there.size());
    for (int other = 0; other < 60; ++other) {
      const auto at = there.find(other);
      ASSERT_EQ(table.Find(HashOf(other), Name(other)),
                at == there.end() ? nullptr : at->second->call())
          << "step " << step << ", call " << other;
    }
  }
}

TEST(CallTable, EqualHashesAreNotEqualCalls) {
  CallTable table;
  EXPECT_EQ(table.Find(1, "a"), nullptr);
  Block a("a");
  table.Insert(1, a.call());
  EXPECT_EQ(table.Find(1, "b"), nullptr);
  EXPECT_EQ(table.Find(1, "a"), a.call());
}

}  // namespace
}  // namespace sipheal::sip
