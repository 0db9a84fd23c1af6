// SPDX-License-Identifier: Apache-2.0
#include "grpc/recovery_book.h"

namespace sipheal::inline v0_1::internal {

void RecoveryBook::Note(const RecoveryReport& report) {
  const std::lock_guard lock(mutex_);
  const auto [known, fresh] = numbers_.try_emplace(report.session, heard_ + 1);
  if (fresh) ++heard_;
  by_number_[known->second] = report;
  if (by_number_.size() <= most_) return;
  numbers_.erase(by_number_.begin()->second.session);
  by_number_.erase(by_number_.begin());
}

RecoveryBook::Page RecoveryBook::List(std::uint64_t before, std::size_t size) const {
  const std::lock_guard lock(mutex_);
  Page page;
  auto it = before == 0 ? by_number_.end() : by_number_.lower_bound(before);
  while (it != by_number_.begin() && page.recoveries.size() < size) {
    --it;
    page.recoveries.push_back(it->second);
    page.next = it->first;
  }
  if (it == by_number_.begin()) page.next = 0;
  return page;
}

}  // namespace sipheal::inline v0_1::internal
