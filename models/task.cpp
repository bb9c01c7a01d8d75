#include "models/task.h"

#include "models/addition_task.h"
#include "models/text_task.h"

namespace norma::models {

std::unique_ptr<Task> make_task(const Settings& settings) {
  if (settings.data.empty()) return std::make_unique<AdditionTask>(settings);
  return std::make_unique<TextTask>(settings);
}

}  // namespace norma::models
