// train_mnist: trains a classifier of handwritten digits, with the norm of your choice.
#include "models/mnist_run.h"
#include "models/programs/training_program.h"

int main(int argc, char** argv) {
  using namespace norma;
  CLI::App app(
      "Trains an MLP or a convolutional net on MNIST, and saves it with a log of its accuracy and of the "
      "inputs of "
      "one unit.",
      "train_mnist");
  return programs::train<models::MnistSettings>(app, "init-std", argc, argv, models::run_mnist);
}
