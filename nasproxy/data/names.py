"""The data sets that are known by name, in words: listed without importing what reads them."""

DATASETS = {
    "digits": "1,797 digits of 8x8, bundled with scikit-learn",
    "fashion": "3,500 garments of 14x14, made of Fashion-MNIST, bundled",
    "mnist": "70,000 digits of 28x28",
    "fashion_mnist": "70,000 garments of 28x28",
    "kmnist": "70,000 Kuzushiji letters of 28x28",
    "cifar10": "60,000 photographs of 32x32, 10 classes",
    "cifar100": "60,000 photographs of 32x32, 100 classes",
    "svhn": "99,289 house numbers of 32x32",
    "stl10": "13,000 photographs of 96x96",
}
